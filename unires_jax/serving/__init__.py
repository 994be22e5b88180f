"""A trained model on one's own pictures: Python, terminal, browser.

Here belongs what reads any picture and shows answers to people. What a user needs in
Python can be imported from here.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Predictor", "Segment", "load"]

if TYPE_CHECKING:
    from unires_jax.inference.segment import Segment
    from unires_jax.serving.predictor import Predictor, load


def __getattr__(name: str) -> Any:
    """The public names, imported when first used."""
    if name == "Segment":
        from unires_jax.inference.segment import Segment

        return Segment
    if name in __all__:
        from unires_jax.serving import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
