"""The model as two functions of plain arrays, the form in which it is exported.

    encode_image(params, images, extent) -> features
    segment(params, tokens, lengths, image_index, *features) -> logits, no_target

Numbers of images, of expressions and of tokens are free. `params` go by dotted names.
The computation is float32 whatever the training's was, as the Predictor's on CPU.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, export
from jaxtyping import Float, Int, UInt8

from unires_jax.config import Config
from unires_jax.inference.exported import unflatten
from unires_jax.models.features import ImageFeatures
from unires_jax.models.unires import Apply

Params = dict[str, Array]  # by dotted name, of any float type


class Graphs:
    """Both functions for a config."""

    def __init__(self, config: Config):
        # Without remat: exporters do not know it, and nothing is differentiated.
        model = dataclasses.replace(config.model, dtype="float32", remat="none")
        self._apply, self._model = Apply(model), model
        size = config.model.image_size
        features = jax.eval_shape(
            self._apply.encode_image,
            self._apply.abstract,
            jax.ShapeDtypeStruct((1, size, size, 3), jnp.uint8),
            jax.ShapeDtypeStruct((1, 2), jnp.int32),
        )
        # An ablation may lack group tokens or the stem.
        self.features = {
            name: x for name, x in features._asdict().items() if x is not None
        }

    def encode_image(
        self, params: Params, images: UInt8[Array, "b s s 3"], extent: Int[Array, "b 2"]
    ) -> tuple[Array, ...]:
        """The features, in the order of `self.features`, float32."""
        encoded = self._apply.encode_image(self._tree(params), images, extent)
        return tuple(getattr(encoded, name) for name in self.features)

    def segment(
        self,
        params: Params,
        tokens: Int[Array, "e l"],
        lengths: Int[Array, "e"],
        image_index: Int[Array, "e"],
        *features: Array,
    ) -> tuple[Float[Array, "e g g"], Float[Array, "e"]]:
        """Mask logits on the grid, and the logit that nothing is meant."""
        tree = self._tree(params)
        absent: dict[str, Any] = dict.fromkeys(ImageFeatures._fields)
        present = zip(self.features, features, strict=True)
        encoded = ImageFeatures(**absent | dict(present))
        words = self._apply.encode_text(tree, tokens, lengths)
        return self._apply.decode(tree, encoded, words, lengths, image_index)

    def _tree(self, params: Params) -> Any:
        tree = unflatten(params, self._apply.abstract)
        return jax.tree.map(lambda x: x.astype(jnp.float32), tree)

    def signatures(
        self,
    ) -> list[tuple[str, Callable[..., Any], dict[str, jax.ShapeDtypeStruct]]]:
        """Name, function and inputs (by name, without params) of each.

        The free sizes are symbols: b images, e expressions, l tokens.
        """
        size, context = self._model.image_size, self._model.text.context
        (b,) = export.symbolic_shape("b")
        images = {
            "images": jax.ShapeDtypeStruct((b, size, size, 3), jnp.uint8),
            "extent": jax.ShapeDtypeStruct((b, 2), jnp.int32),
        }
        b, e, l = export.symbolic_shape(  # noqa: E741
            "b, e, l", constraints=[f"l <= {context}"]
        )
        questions = {
            "tokens": jax.ShapeDtypeStruct((e, l), jnp.int32),
            "lengths": jax.ShapeDtypeStruct((e,), jnp.int32),
            "image_index": jax.ShapeDtypeStruct((e,), jnp.int32),
        } | {
            name: jax.ShapeDtypeStruct((b, *x.shape[1:]), jnp.float32)
            for name, x in self.features.items()
        }
        return [
            ("encode_image", self.encode_image, images),
            ("segment", self.segment, questions),
        ]

    def outputs(self, name: str) -> list[str]:
        """The names of a graph's outputs, in order."""
        return (
            list(self.features) if name == "encode_image" else ["logits", "no_target"]
        )
