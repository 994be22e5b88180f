"""UniRES: pretrained towers with group tokens, a filter per level, a two-stage decoder.

Three steps: `encode_image` once per picture, `encode_text` once per sentence, `decode`
for any pairing of the two. Order of parts: the paper's figure. Sizes and what the
figure does not draw: ours, marked where it stands.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int, UInt8

from unires_jax.config import (
    ModelConfig,
    has_product_head,
    has_second_stage,
    preprocessing,
    split_layer,
    training_model,
)
from unires_jax.models.backbones import towers_of
from unires_jax.models.backbones.image_tower import GroupTokens, VisionOutput
from unires_jax.models.backbones.text_tower import word_places
from unires_jax.models.efficientnet import map_channels
from unires_jax.models.features import ImageFeatures
from unires_jax.models.fusion import Filter, FusionLayer, Stage, grid_positions
from unires_jax.models.heads import NoTargetHead, ProductHead, UpsampleHead
from unires_jax.models.keys import Keys
from unires_jax.models.layers import Dense, quick_gelu
from unires_jax.models.pixel_features import (
    NetworkStem,
    Stem,
    StemFeatures,
    normalised,
    resize,
    space_to_depth,
    stem_cells,
)


class UniRES(nnx.Module):
    """The model. All switches are `ModelConfig`'s."""

    def __init__(self, config: ModelConfig, *, keys: Keys):
        d, dtype = config.width, jnp.dtype(config.dtype)
        kw: dict[str, Any] = {"dtype": dtype, "keys": keys}
        self.config, towers = config, towers_of(config)
        self.vision = towers.vision(
            config.vision, training_model(config).image_size, remat=config.remat, **kw
        )
        self.text = towers.text(config.text, remat=config.remat, **kw)
        self.low, self.high = _group_tokens(config, dtype, keys)
        two = has_second_stage(config)
        self.low_filter = Filter(config, keys=keys) if two and self.low else None
        self.high_filter = Filter(config, keys=keys) if two and self.high else None

        self.patch_project = Dense(config.vision.width, d, **kw)
        self.word_project = Dense(config.text.width, d, **kw)
        shares_eos = config.share_eos and not config.figure_only
        self.eos_project = Dense(d, d, zero_init=True, **kw) if shares_eos else None
        gated = config.gate and not config.figure_only
        self.patch_gate = Dense(d, d, zero_init=True, **kw) if gated else None
        mixers = 0 if config.figure_only else config.mixer_layers
        self.mixers = nnx.List([FusionLayer(config, keys=keys) for _ in range(mixers)])

        depth = config.stage_layers if two else 2 * config.stage_layers
        self.stage1 = Stage(config, depth, keys=keys)
        self.stage2 = Stage(config, depth, keys=keys) if two else None

        stem = 0 if config.figure_only else config.stem_channels
        self.stem = _stem(config, stem, kw)
        self.stem_project = _stem_project(config, stem, dtype, keys)
        head = ProductHead if has_product_head(config) else UpsampleHead
        self.head = head(config, stem, **kw)
        self.no_target_head = NoTargetHead(d, **kw)

    def encode_image(
        self, images: UInt8[Array, "b s s 3"], extent: Int[Array, "b 2"]
    ) -> ImageFeatures:
        """Encode letterboxed pictures of valid height and width `extent`, pixels."""
        return self._encode_image(images, extent)[0]

    def _encode_image(
        self,
        images: UInt8[Array, "b s s 3"],
        extent: Int[Array, "b 2"],
        return_attention: bool = False,
    ) -> tuple[ImageFeatures, VisionOutput]:
        """The features, and what the image tower gave for them."""
        config, pixels = self.config, self.pixels(images)
        stem = self._stem_features(images, pixels)
        tower_output = self.vision(
            pixels,
            self.low,
            self.high,
            detail=self._patch_detail(stem, images.shape[1]),
            split_layer=split_layer(config),
            layers=config.pixel_layers if has_product_head(config) else (),
            return_attention=return_attention,
        )
        size = images.shape[1]
        side = size // config.vision.patch
        positions = grid_positions(extent, size, side, config.width)
        positions = positions.astype(config.dtype)
        patches = self.patch_project(tower_output.patches)
        for mixer in self.mixers:
            patches, _ = mixer(patches, None, positions=positions)
        features = ImageFeatures(
            patches=patches,
            low=_project(self.low_filter, tower_output.low),
            high=_project(self.high_filter, tower_output.high),
            detail=self.head.detail(patches, tower_output.layers, stem),
            positions=positions,
        )
        return features, tower_output

    def _stem_features(
        self, images: UInt8[Array, "b s s 3"], pixels: Float[Array, "b s s 3"]
    ) -> StemFeatures | None:
        """What the stem makes of pictures, also given as the backbone reads them."""
        if isinstance(self.stem, NetworkStem):
            return self.stem(images)
        return None if self.stem is None else self.stem(pixels)

    def _patch_detail(
        self, stem: StemFeatures | None, size: int
    ) -> Float[Array, "b n d"] | None:
        """What the stem adds to the embedded patches of pictures of side `size`."""
        if self.stem_project is None or stem is None:
            return None
        patch = self.config.vision.patch
        if stem.deep is not None:
            deep = resize(stem.deep, size // patch)
            b, grid, _, channels = deep.shape
            return self.stem_project(deep.reshape(b, grid**2, channels))
        ratio = stem_cells(patch)
        cells = space_to_depth(resize(stem.quarter, size // patch * ratio), ratio)
        b, n, _, _ = cells.shape
        return self.stem_project(quick_gelu(cells.reshape(b, n, -1)))

    def pixels(self, images: UInt8[Array, "b s s 3"]) -> Float[Array, "b s s 3"]:
        """The pictures by the backbone's statistics, in the compute dtype."""
        rules = preprocessing(self.config)
        scaled = normalised(images, rules.image_mean, rules.image_std)
        return scaled.astype(self.config.dtype)

    def encode_text(
        self, tokens: Int[Array, "e l"], lengths: Int[Array, "e"]
    ) -> Float[Array, "e l d"]:
        """Word features at decoder width; `lengths` counts tokens, EOS the last."""
        words = self.word_project(self.text(tokens, lengths))
        if self.eos_project is None:
            return words
        # In CLIP's causal tower only EOS has read the whole sentence (ours).
        return words + self.eos_project(_eos(words, lengths))[:, None]

    def decode(
        self,
        features: ImageFeatures,
        words: Float[Array, "e l d"],
        lengths: Int[Array, "e"],
        image_index: Int[Array, "e"] | None = None,
    ) -> tuple[Float[Array, "e g g"], Float[Array, "e"]]:
        """Mask logits on the grid and no-target logits.

        `image_index[e]` points each expression at its image; None means equally many
        expressions per image, image after image (training).
        """
        f = features._replace(detail=None).each(words, image_index)
        mask, eos, x = _word_mask(words, lengths), _eos(words, lengths), f.patches
        if self.patch_gate is not None:
            x = x * (1 + self.patch_gate(eos))[:, None]
        x = self.stage1(x, words, f.positions, mask)
        if self.stage2 is not None:
            filtered, _ = self.filter_groups(f, words, mask)
            x = self.stage2(x, filtered, f.positions)
        logits = self.head(x, eos, features.detail, image_index)
        return logits, self.no_target_head(x, eos)

    def filter_groups(
        self,
        features: ImageFeatures,
        words: Float[Array, "e l d"],
        mask: Bool[Array, "e 1 l"],
        *,
        return_weights: bool = False,
    ) -> tuple[Float[Array, "e g d"], dict[str, Float[Array, "e _ l"]]]:
        """The filtered groups of both levels, low first [figure].

        On request also how much of each word the groups of each level read, the mean
        over heads; nothing of a filter that reads none (ablation).
        """
        filtered, attention = [], {}
        for level, filter_, groups in (
            ("low", self.low_filter, features.low),
            ("high", self.high_filter, features.high),
        ):
            if filter_ is None or groups is None:
                continue
            x, weights = filter_(groups, words, mask, return_weights=return_weights)
            filtered.append(x)
            if weights is not None:
                attention[level] = weights.mean(1)  # [e, h, g, l] -> [e, g, l]
        return jnp.concatenate(filtered, axis=1), attention

    def attention(
        self,
        images: UInt8[Array, "b s s 3"],
        extent: Int[Array, "b 2"],
        tokens: Int[Array, "b l"],
        lengths: Int[Array, "b"],
    ) -> tuple[dict[str, Float[Array, "b _ n"]], dict[str, Float[Array, "b _ l"]]]:
        """Where the group tokens of each level look, one sentence per picture.

        Each token's weights on the patches in the last block it passes, and on the
        words in its region filter: see `VisionOutput` and `filter_groups`. One stage
        has no filters (ablation).
        """
        features, tower = self._encode_image(images, extent, return_attention=True)
        maps = {"low": tower.low_attention, "high": tower.high_attention}
        patches = {level: x for level, x in maps.items() if x is not None}
        if not patches:
            return {}, {}
        if self.stage2 is None:
            return patches, {}
        words = self.encode_text(tokens, lengths)
        mask = _word_mask(words, lengths)
        _, read = self.filter_groups(features, words, mask, return_weights=True)
        return patches, read


class Apply:
    """UniRES as pure functions of a tree of parameters."""

    def __init__(self, config: ModelConfig):
        self.config = config
        model = nnx.eval_shape(lambda: UniRES(config, keys=Keys(0)))
        self._graph, state = nnx.split(model)
        self.abstract: dict[str, Any] = nnx.to_pure_dict(state)  # ShapeDtypeStructs

    def init(self, key: Array) -> dict[str, Any]:
        """Fresh float32 parameters from a PRNG key."""
        return nnx.to_pure_dict(nnx.state(UniRES(self.config, keys=Keys(key))))

    def bind(self, params: dict[str, Any]) -> UniRES:
        """The module with these parameters."""
        return nnx.merge(self._graph, params)

    # The methods of `UniRES`, their arguments behind the parameters.

    def encode_image(self, params: dict[str, Any], *pictures: Array) -> ImageFeatures:
        """`UniRES.encode_image`."""
        return self.bind(params).encode_image(*pictures)

    def encode_text(
        self, params: dict[str, Any], *sentences: Array
    ) -> Float[Array, "e l d"]:
        """`UniRES.encode_text`."""
        return self.bind(params).encode_text(*sentences)

    def decode(
        self, params: dict[str, Any], features: ImageFeatures, *sentences: Any
    ) -> tuple[Float[Array, "e g g"], Float[Array, "e"]]:
        """`UniRES.decode`."""
        return self.bind(params).decode(features, *sentences)


def _group_tokens(
    config: ModelConfig, dtype: jnp.dtype, keys: Keys
) -> tuple[GroupTokens | None, GroupTokens | None]:
    """Low and high tokens; ablations move the absent level's count to the other."""
    split, depth = split_layer(config), config.vision.depth
    low, high = config.low_groups, config.high_groups
    low, high = {
        "both": (low, high),
        "low": (low + high, 0),
        "high": (0, low + high),
        "none": (0, 0),
    }[config.groups]
    bias = None if config.figure_only else config.group_bias

    def tokens(count: int, blocks: int) -> GroupTokens | None:
        if not count:
            return None
        return GroupTokens(
            count, blocks, config.vision, bias=bias, dtype=dtype, keys=keys
        )

    return tokens(low, split), tokens(high, depth - split)


def _stem(
    config: ModelConfig, channels: int, kw: dict[str, Any]
) -> Stem | NetworkStem | None:
    """The stem of so many channels; None for 0."""
    if not channels:
        return None
    if config.stem == "plain":
        return Stem(channels, **kw)
    return NetworkStem(config.stem, channels, **kw)


def _stem_project(
    config: ModelConfig, stem: int, dtype: jnp.dtype, keys: Keys
) -> Dense | None:
    """The stem's way into the patches; zero, so that they start as pretrained."""
    if not (config.stem_to_patches and stem):
        return None
    if config.stem == "plain":
        inputs = stem_cells(config.vision.patch) ** 2 * stem
    else:
        inputs = sum(map_channels(config.stem)[3:])
    return Dense(inputs, config.vision.width, zero_init=True, dtype=dtype, keys=keys)


def _project(filter_: Filter | None, groups: Array | None) -> Array | None:
    return filter_.project(groups) if filter_ and groups is not None else None


def _word_mask(
    words: Float[Array, "e l d"], lengths: Int[Array, "e"]
) -> Bool[Array, "e 1 l"]:
    return (word_places(words) < lengths[:, None])[:, None]


def _eos(words: Float[Array, "e l d"], lengths: Int[Array, "e"]) -> Array:
    return jnp.take_along_axis(words, (lengths - 1)[:, None, None], axis=1)[:, 0]
