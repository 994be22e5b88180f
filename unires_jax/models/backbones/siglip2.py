"""SigLIP 2 (Tschannen et al. 2025, arXiv 2502.14786): its ViTs of one resolution.

They are published as transformers' SiglipModel; the towers of a Siglip2Model are the
same at one resolution. What pools them into one vector is not used.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from unires_jax.config import TextConfig, VisionConfig
from unires_jax.models.backbones import Published, Towers, image_tower, text_tower
from unires_jax.models.backbones.weights import two_towers

PAD = 0  # the id of <pad> in the published vocabulary


class VisionTower(image_tower.ImageTower):
    """Patches with a bias and positions, nothing before them."""

    eps = 1e-6


class TextTower(text_tower.TextTower):
    """Each token reads all others, and the pads.

    The published tower was trained on sentences filled up to its context with pads and
    no mask: its words lean on them. So every sentence is filled up here, whatever came
    behind its EOS, and the rows of what came are given back (ours): the words are the
    pretrained ones, and depend neither on the bucket nor on its pads. Every sentence
    costs the context's length: with 8 a picture of 512 pixels, 0.4 of the image tower's
    operations.
    """

    eps, fills_up = 1e-6, True

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


_TOWER = {"width": 768, "depth": 12, "heads": 12, "mlp": 3072}
_GELU = "gelu_pytorch_tanh"

TOWERS = Towers(
    title="SigLIP 2",
    vision=VisionTower,
    text=TextTower,
    published=Published(
        model_types=("siglip", "siglip2"),
        architecture="SiglipModel or Siglip2Model",
        vision=VisionConfig(patch=16, activation=_GELU, **_TOWER),
        text=TextConfig(vocab=32000, context=64, activation=_GELU, **_TOWER),
        rules=tuple(two_towers(prefix=0)),
        # Both poolings, the sigmoid's scale and bias, index buffers of old files.
        not_ours=(
            r"vision_model\.head\..*|text_model\.head\.(weight|bias)|"
            r"logit_(scale|bias)|(vision|text)_model\.embeddings\.position_ids"
        ),
    ),
)
