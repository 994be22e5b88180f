"""UniRES in JAX/Flax: multi-granularity referring expression segmentation.

model = unires_jax.load("runs/quickstart")
for segment in model.segment("photo.jpg", ["the truck", "wheels of the truck"]):
    print(segment.expression, segment.score, segment.box)
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Predictor", "Segment", "load"]

if TYPE_CHECKING:
    __version__: str
    from unires_jax.serving import Predictor, Segment, load


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: importing the package is instant."""
    if name == "__version__":  # stated once, in the package's metadata
        from importlib.metadata import version

        return version("unires_jax")
    if name in __all__:
        from unires_jax import serving

        return getattr(serving, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
