"""One colour for each expression, parts on top, a legend below."""

import numpy as np
from helpers.answers import answer

from unires_jax.inference.segment import Segment
from unires_jax.pixels.canvas import place
from unires_jax.serving.overlay import COLOURS, colour, draw, with_legend


def square(name: str, top: int, size: int, no_target: float = 0.0) -> Segment:
    logits = np.full((64, 64), -5, np.float32)
    logits[top : top + size, top : top + size] = 5
    return Segment(name, logits, place(64, 64, 64), no_target)


def test_smaller_masks_lie_on_top_in_any_order() -> None:
    ground = np.full((64, 64, 3), 100, np.uint8)
    object_, part = square("object", 8, 40), square("part", 20, 8)
    for segments in ([object_, part], [part, object_]):
        picture = draw(ground, segments).astype(int)
        inside = picture[23, 23] - picture[40, 40]
        part_colour = np.array(colour(segments.index(part)))
        beneath = np.array(colour(segments.index(object_)))
        assert np.abs(picture[40, 40] - (100 + beneath) / 2).max() <= 1
        expected = ((100 + beneath) / 2 + part_colour) / 2
        assert np.abs(picture[23, 23] - expected).max() <= 1 and inside.any()
        assert (picture[60, 60] == 100).all()
    assert (ground == 100).all()  # the picture itself is left alone


def test_an_outline_shows_on_any_ground() -> None:
    for index in range(len(COLOURS)):
        for ground in ((0, 0, 0), (255, 255, 255), (128, 128, 128), colour(index)):
            pixels = np.full((64, 64, 3), ground, np.uint8)
            others = [square("other", 0, 0)] * index
            picture = draw(pixels, [*others, square("object", 16, 32)]).astype(int)
            across = np.abs(picture[32, :16] - np.array(ground)).sum(-1)
            assert across.max() > 180, (index, ground)


def test_what_means_nothing_is_not_drawn() -> None:
    ground = np.full((64, 64, 3), 100, np.uint8)
    drawn = draw(ground, [square("nothing", 8, 40, no_target=0.9)])
    np.testing.assert_array_equal(drawn, ground)


def test_colours_differ_and_repeat() -> None:
    assert len(set(COLOURS)) == len(COLOURS)
    assert colour(len(COLOURS)) == colour(0)


def test_legend_has_a_swatch_and_a_line_for_each() -> None:
    ground = np.zeros((64, 64, 3), np.uint8)
    long = square("a very long sentence " * 40, 4, 8)
    odd = square("das Rad\nGrüße 红 🚗", 30, 8, no_target=0.9)
    sheet = with_legend(ground, [square("one", 8, 9), long, odd])
    assert sheet.shape[1] == 480 and sheet.shape[0] > 480
    for i in range(3):
        swatch = (sheet[480:, :60] == np.array(colour(i))).all(-1)
        assert swatch.sum() > 60
    # Words stay inside: the last columns are white.
    assert (sheet[480:, -3:] == 255).all()
    assert with_legend(ground[:8, :4], [answer()]).shape[1] >= 360
