"""SigLIP 2 (Tschannen et al. 2025, arXiv 2502.14786): its ViTs of one resolution.

They are published as transformers' SiglipModel; the towers of a Siglip2Model are the
same at one resolution. What pools them into one vector is not used.
"""

import re

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from unires_jax.config import TextConfig, VisionConfig
from unires_jax.mesh import constrain_batch
from unires_jax.models.backbones import image_tower, text_tower
from unires_jax.models.backbones.blocks import Block
from unires_jax.models.backbones.towers import Published, Towers
from unires_jax.models.backbones.weights import (
    TWO_TOWERS,
    grid_positions,
    keep,
    patch_kernel,
)
from unires_jax.models.layers import Dense, LayerNorm

EPS = 1e-6
PAD = 0  # the id of <pad> in the published vocabulary


class VisionTower(image_tower.ImageTower):
    """Patches with a bias and positions, nothing before them."""

    def __init__(
        self,
        config: VisionConfig,
        image_size: int,
        *,
        dtype: DTypeLike = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        width, side = config.width, image_size // config.patch
        self.patch_embed = Dense(3 * config.patch**2, width, dtype=dtype, rngs=rngs)
        init = nnx.initializers.normal(width**-0.5)
        self.positions = nnx.Param(init(rngs.params(), (side**2, width)))
        self.blocks = nnx.List(
            [
                Block(config, eps=EPS, dtype=dtype, rngs=rngs)
                for _ in range(config.depth)
            ]
        )
        self.ln_post = LayerNorm(width, eps=EPS, dtype=dtype, rngs=rngs)
        self.patch, self.dtype, self.remat = config.patch, dtype, remat

    def embed(self, images: Float[Array, "b s s 3"]) -> Float[Array, "b n d"]:
        """Patches with positions."""
        x = self.patch_embed(self.cut(images))
        return constrain_batch(x + self.positions[...].astype(self.dtype))


class TextTower(text_tower.TextTower):
    """Each token reads all others, and the pads.

    The published tower was trained on sentences filled up to its context with pads and
    no mask: its words lean on them. So every sentence is filled up here, whatever came
    behind its EOS, and the rows of what came are given back (ours): the words are the
    pretrained ones, and depend neither on the bucket nor on its pads. Every sentence
    costs the context's length: with 8 a picture of 512 pixels, 0.4 of the image tower's
    operations.
    """

    eps = EPS

    def __call__(
        self, tokens: Int[Array, "e l"], lengths: Int[Array, "e"]
    ) -> Float[Array, "e l d"]:
        """As `text_tower.TextTower`; `hidden` takes tokens at full length."""
        full = self.fill_up(tokens, lengths)
        words = super().__call__(full, lengths)
        return words[:, : tokens.shape[1]]

    def fill_up(
        self, tokens: Int[Array, "e l"], lengths: Int[Array, "e"]
    ) -> Int[Array, "e context"]:
        """The tokens up to EOS, then pads to the context."""
        # Beyond the last place its token is repeated, which a pad then replaces: a
        # gather of fixed width is what exporters follow for any l.
        places = jnp.arange(self.positions.shape[0])
        repeated = jnp.take(tokens, places, axis=1, mode="clip")
        return jnp.where(places < lengths[:, None], repeated, PAD)


_IMAGE = r"vision_model\.embeddings\."
_TOWER = {"width": 768, "depth": 12, "heads": 12, "mlp": 3072}
_PUBLISHED = Published(
    model_types=("siglip", "siglip2"),
    architecture="SiglipModel or Siglip2Model",
    vision=VisionConfig(patch=16, activation="gelu_pytorch_tanh", **_TOWER),
    text=TextConfig(vocab=32000, context=64, activation="gelu_pytorch_tanh", **_TOWER),
    eps=EPS,
    rules=(
        (
            _IMAGE + r"patch_embedding\.weight",
            "vision.patch_embed.kernel",
            patch_kernel,
        ),
        (_IMAGE + r"patch_embedding\.bias", "vision.patch_embed.bias", keep),
        (_IMAGE + r"position_embedding\.weight", "vision.positions", grid_positions(0)),
        *TWO_TOWERS,
    ),
    # Both poolings, the sigmoid's scale and bias, index buffers that old files carry.
    not_ours=(
        r"vision_model\.head\..*|text_model\.head\.(weight|bias)|logit_(scale|bias)|"
        r"(vision|text)_model\.embeddings\.position_ids"
    ),
)

TOWERS = Towers(
    title="SigLIP 2",
    vision=VisionTower,
    text=TextTower,
    published=_PUBLISHED,
    roles=(
        (r"vision\.(patch_embed|positions)(\..*)?", "vision embedding"),
        (r"vision\.blocks\.(\d+)\..*", "vision block"),
        (r"vision\.ln_post\..*", "vision top"),
        (r"text\..*", "text"),
    ),
    no_decay=re.compile(r"(vision|text)\.positions|text\.embedding"),
)
