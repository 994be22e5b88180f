"""Targets by size and sentences by length, for breakdowns. The edges are ours."""

import numpy as np

SIZE_EDGES = (0.005, 0.02, 0.1)  # shares of the image's area
SIZE_NAMES = ("below 0.5 %", "0.5 to 2 %", "2 to 10 %", "10 % and more")
WORD_EDGES = (3, 6, 10)
WORD_NAMES = ("1 to 2 words", "3 to 5 words", "6 to 9 words", "10 words and more")


def size_bucket(pixels: int, height: int, width: int) -> str:
    """Which of SIZE_NAMES a target of that area falls into; an edge belongs upwards."""
    share = pixels / (height * width)
    return SIZE_NAMES[int(np.searchsorted(SIZE_EDGES, share, side="right"))]


def word_bucket(sentence: str) -> str:
    """Which of WORD_NAMES a sentence's number of words falls into."""
    words = len(sentence.split())
    return WORD_NAMES[int(np.searchsorted(WORD_EDGES, words, side="right"))]
