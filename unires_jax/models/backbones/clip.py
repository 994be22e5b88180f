"""CLIP (Radford et al. 2021, arXiv 2103.00020): OpenAI's and LAION's ViTs."""

import re

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from unires_jax.config import TextConfig, VisionConfig
from unires_jax.mesh import constrain_batch
from unires_jax.models.backbones import image_tower, text_tower
from unires_jax.models.backbones.blocks import Block
from unires_jax.models.backbones.text_tower import word_places
from unires_jax.models.backbones.towers import Published, Towers
from unires_jax.models.backbones.weights import (
    TWO_TOWERS,
    grid_positions,
    keep,
    norm,
    patch_kernel,
)
from unires_jax.models.layers import Dense, LayerNorm

EPS = 1e-5


class VisionTower(image_tower.ImageTower):
    """Patches without a bias, CLS before them, a norm before block 0.

    CLIP itself applies `ln_post` to CLS alone; here the patches pass it (ours).
    """

    prefix = 1

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
        self.patch_embed = Dense(
            3 * config.patch**2, width, use_bias=False, dtype=dtype, rngs=rngs
        )
        init = nnx.initializers.normal(width**-0.5)
        self.cls = nnx.Param(init(rngs.params(), (width,)))
        self.positions = nnx.Param(init(rngs.params(), (1 + side**2, width)))
        self.ln_pre = LayerNorm(width, eps=EPS, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [
                Block(config, eps=EPS, dtype=dtype, rngs=rngs)
                for _ in range(config.depth)
            ]
        )
        self.ln_post = LayerNorm(width, eps=EPS, dtype=dtype, rngs=rngs)
        self.patch, self.dtype, self.remat = config.patch, dtype, remat

    def embed(self, images: Float[Array, "b s s 3"]) -> Float[Array, "b l d"]:
        """[CLS, patches] with positions, after `ln_pre`."""
        x = self.patch_embed(self.cut(images))
        b, _, d = x.shape
        cls = jnp.broadcast_to(self.cls[...].astype(self.dtype), (b, 1, d))
        x = jnp.concatenate([cls, x], axis=1) + self.positions[...].astype(self.dtype)
        return constrain_batch(self.ln_pre(x))


class TextTower(text_tower.TextTower):
    """Causal: a word has not read what follows it, so pads after EOS change nothing."""

    eps = EPS

    def mask(self, tokens: Int[Array, "e l"]) -> Bool[Array, "1 l l"]:
        """Each token reads itself and those before it."""
        places = word_places(tokens)
        return places[:1, :, None] >= places[:1, None]


_IMAGE = r"vision_model\.embeddings\."
_PUBLISHED = Published(
    model_types=("clip",),
    architecture="CLIPModel",
    vision=VisionConfig(patch=32),
    text=TextConfig(),
    eps=EPS,
    rules=(
        (_IMAGE + r"class_embedding", "vision.cls", keep),
        (
            _IMAGE + r"patch_embedding\.weight",
            "vision.patch_embed.kernel",
            patch_kernel,
        ),
        (_IMAGE + r"position_embedding\.weight", "vision.positions", grid_positions(1)),
        *norm(r"vision_model\.pre_layrnorm", "vision.ln_pre"),
        *TWO_TOWERS,
    ),
    # The contrastive head, and index buffers that old files carry.
    not_ours=(
        r"logit_scale|(visual|text)_projection\.weight|"
        r"(vision|text)_model\.embeddings\.position_ids"
    ),
)

TOWERS = Towers(
    title="CLIP",
    vision=VisionTower,
    text=TextTower,
    published=_PUBLISHED,
    roles=(
        (r"vision/(patch_embed|cls|positions|ln_pre)(/.*)?", "vision embedding"),
        (r"vision/blocks/(\d+)/.*", "vision block"),
        (r"vision/ln_post/.*", "vision top"),
        (r"text/.*", "text"),
    ),
    no_decay=re.compile(r"vision/(cls|positions)|text/(positions|embedding)"),
)
