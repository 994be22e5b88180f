"""CLIP (Radford et al. 2021, arXiv 2103.00020): OpenAI's and LAION's ViTs."""

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from unires_jax.config import TextConfig, VisionConfig
from unires_jax.models.backbones import Published, Towers, image_tower, text_tower
from unires_jax.models.backbones.text_tower import word_places
from unires_jax.models.backbones.weights import keep, norm, two_towers
from unires_jax.models.keys import Keys
from unires_jax.models.layers import LayerNorm


class VisionTower(image_tower.ImageTower):
    """Patches without a bias, CLS before them, a norm before block 0.

    CLIP itself applies `ln_post` to CLS alone; here the patches pass it (ours).
    """

    prefix, patch_bias = 1, False

    def __init__(
        self,
        config: VisionConfig,
        image_size: int,
        *,
        dtype: DTypeLike = jnp.float32,
        remat: str = "none",
        keys: Keys,
    ):
        super().__init__(config, image_size, dtype=dtype, remat=remat, keys=keys)
        self.ln_pre = LayerNorm(config.width, eps=self.eps, dtype=dtype, keys=keys)

    def embed(
        self,
        images: Float[Array, "b s s 3"],
        detail: Float[Array, "b n d"] | None = None,
    ) -> Float[Array, "b l d"]:
        """[CLS, patches] with positions, after `ln_pre`."""
        return self.ln_pre(super().embed(images, detail))


class TextTower(text_tower.TextTower):
    """Causal: a word has not read what follows it, so pads after EOS change nothing."""

    def mask(self, tokens: Int[Array, "e l"]) -> Bool[Array, "1 l l"]:
        """Each token reads itself and those before it."""
        places = word_places(tokens)
        return places[:1, :, None] >= places[:1, None]


TOWERS = Towers(
    title="CLIP",
    vision=VisionTower,
    text=TextTower,
    published=Published(
        model_types=("clip",),
        architecture="CLIPModel",
        vision=VisionConfig(patch=32),
        text=TextConfig(),
        rules=(
            (r"vision_model\.embeddings\.class_embedding", "vision.cls", keep),
            *norm(r"vision_model\.pre_layrnorm", "vision.ln_pre"),
            *two_towers(prefix=1),
        ),
        # The contrastive head, and index buffers that old files carry.
        not_ours=(
            r"logit_scale|(visual|text)_projection\.weight|"
            r"(vision|text)_model\.embeddings\.position_ids"
        ),
    ),
)
