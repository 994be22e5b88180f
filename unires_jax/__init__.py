"""UniRES in JAX/Flax: multi-granularity referring expression segmentation.

model = unires_jax.load("runs/quickstart")
for segment in model.segment("photo.jpg", ["the truck", "wheels of the truck"]):
    print(segment.expression, segment.score, segment.box)
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Predictor", "Segment", "load"]

if TYPE_CHECKING:
    from unires_jax.serving.predictor import Predictor, load
    from unires_jax.serving.segment import Segment


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: importing the package is instant."""
    if name in ("Predictor", "load"):
        from unires_jax.serving import predictor

        return getattr(predictor, name)
    if name == "Segment":
        from unires_jax.serving.segment import Segment

        return Segment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
