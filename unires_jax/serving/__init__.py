"""A trained model on one's own pictures: Python, terminal, browser.

Here belongs what reads any picture and shows answers to people. What a user needs in
Python can be imported from here.
"""

from unires_jax.inference.segment import Segment
from unires_jax.serving.predictor import Predictor, load

__all__ = ["Predictor", "Segment", "load"]
