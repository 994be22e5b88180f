"""What stands behind the page: answers, sessions, limits. No browser, no server."""

import dataclasses
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from helpers.pictures import noise
from helpers.predictors import Counting
from helpers.programs import at_once
from helpers.tiny import WORDS
from PIL import Image

from unires_jax.errors import DataError
from unires_jax.inference.loaded import Loaded
from unires_jax.pixels.masks import RunMask
from unires_jax.serving import overlay
from unires_jax.serving.page.desk import Desk, Limits, threshold_of
from unires_jax.serving.page.visits import LAST, Visit, Visits
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import Predictor

PICTURE = encode_png(noise(0))
TEXT = "\n".join(WORDS)


def test_a_picture_is_looked_at_once_while_sentences_change(counting: Counting) -> None:
    desk = Desk(counting)
    for text in (WORDS[0], TEXT, WORDS[1], f"\n {WORDS[2]} \r\n\n{WORDS[3]}\n"):
        visit = desk.ask("a", PICTURE, text)
        expressions = [answer.expression for answer in visit.answers]
        assert expressions == [
            line.strip() for line in text.splitlines() if line.strip()
        ]
    assert counting.looked == 1
    desk.ask("a", encode_png(noise(1)), TEXT)
    assert counting.looked == 2
    desk.ask("b", PICTURE, TEXT)  # another visitor shares nothing
    assert counting.looked == 3


def test_the_threshold_runs_no_model(counting: Counting) -> None:
    desk = Desk(counting)
    visit = desk.ask("a", PICTURE, TEXT)
    counted = counting.looked, counting.decoded
    expected = counting.segment(PICTURE, WORDS)
    counting.looked, counting.decoded = counted
    for threshold in (0.2, 0.5, 0.8):
        rows = desk.rows(visit, threshold)
        for row, answer in zip(rows, expected, strict=True):
            again = answer.at(threshold)
            assert (row.area, row.score) == (again.area, again.score)
            assert row.no_target == again.no_target
            assert row.share == pytest.approx(again.area / again.mask.size)
        assert sorted(row.depth for row in rows) == [1, 2, 3, 4]
        by_depth = sorted(rows, key=lambda row: row.depth)
        areas = [row.area for row in by_depth]
        assert areas == sorted(areas, reverse=True)  # the smallest on top
        desk.overlay_png(visit, threshold)
        desk.masks_zip(visit, threshold)
    assert (counting.looked, counting.decoded) == counted


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_downloads_are_predicted_masks(predictor: Predictor, threshold: float) -> None:
    desk = Desk(predictor)
    visit = desk.ask("a", PICTURE, TEXT)
    expected = [a.at(threshold) for a in predictor.segment(PICTURE, WORDS)]
    with zipfile.ZipFile(io.BytesIO(desk.masks_zip(visit, threshold))) as archive:
        listing = json.loads(archive.read("masks.json"))
        for entry, answer in zip(listing["expressions"], expected, strict=True):
            mask = np.array(Image.open(io.BytesIO(archive.read(entry.pop("mask")))))
            np.testing.assert_array_equal(mask, answer.mask * np.uint8(255))
            rle = RunMask.of(entry["rle"]).pixels()
            np.testing.assert_array_equal(rle, answer.mask)
        assert len(archive.namelist()) == len(WORDS) + 1
    assert listing == desk.masks_json(visit, threshold)


def test_the_picture_shows_the_predictors_masks(loaded: Loaded) -> None:
    untrained = dataclasses.replace(loaded, meta={"no_target_trained": False})
    model, pixels = Predictor(untrained), noise(3, 600, 820)  # in SHOWN: not scaled
    desk = Desk(model)
    picture = desk.overlay_png(desk.ask("a", encode_png(pixels), TEXT), 0.5)
    expected = overlay.draw(pixels, model.segment(pixels, WORDS))
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(picture))), expected)
    assert (expected != pixels).any()
    visit = desk.ask("a", encode_png(pixels), TEXT)
    for i, answer in enumerate(model.segment(pixels, WORDS)):
        layer = np.array(Image.open(io.BytesIO(desk.mask_png(visit, 0.5, i))))
        ink = overlay.layer(answer.mask, overlay.colour(i))
        np.testing.assert_array_equal(layer, ink)
    alone = desk.overlay_png(visit, 0.5, {1, 2, 3})
    first = overlay.draw(pixels, model.segment(pixels, WORDS[:1]))
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(alone))), first)


def test_what_is_held_to_be_absent_is_not_drawn(predictor: Predictor) -> None:
    desk, pixels = Desk(predictor), noise(3, 600, 820)
    visit = desk.ask("a", encode_png(pixels), TEXT)
    absent = [dataclasses.replace(a, no_target_probability=0.9) for a in visit.answers]
    visit = dataclasses.replace(visit, answers=tuple(absent))
    picture = Image.open(io.BytesIO(desk.overlay_png(visit, 0.5)))
    np.testing.assert_array_equal(np.array(picture), pixels)
    layer = np.array(Image.open(io.BytesIO(desk.mask_png(visit, 0.5, 0))))
    assert not layer[:, :, 3].any()
    assert [row.certainty for row in desk.rows(visit, 0.5)] == [0.9] * 4


@pytest.mark.parametrize(
    ("size", "scaled"),
    [((40, 56), (571, 800)), ((30, 3200), (15, 1600)), ((1, 1), (800, 800))],
)
def test_other_sizes_are_shown_scaled(
    predictor: Predictor, size: tuple[int, int], scaled: tuple[int, int]
) -> None:
    desk = Desk(predictor)
    visit = desk.ask("a", encode_png(noise(0, *size)), TEXT)
    image = Image.open(io.BytesIO(desk.overlay_png(visit, 0.5)))
    assert image.size == scaled[::-1]
    assert desk.masks_json(visit, 0.5)["expressions"][0]["rle"]["size"] == list(size)


def test_sessions_do_not_mix(predictor: Predictor) -> None:
    desk = Desk(predictor)

    def visit(number: int) -> None:
        picture = encode_png(noise(number, 30 + number, 50))
        expected = [
            [a.rle for a in predictor.segment(picture, [text])] for text in WORDS
        ]
        for turn in range(8):
            visit = desk.by_key(desk.ask(str(number), picture, WORDS[turn % 4]).key)
            assert visit
            expressions = desk.masks_json(visit, 0.5)["expressions"]
            assert [x["rle"] for x in expressions] == expected[turn % 4]

    at_once(visit, 6)
    assert len(desk.visits) == 6


def test_a_key_opens_its_sessions_last_answers_alone(predictor: Predictor) -> None:
    desk = Desk(predictor)
    first, foreign = desk.ask("a", PICTURE, TEXT), desk.ask("b", PICTURE, TEXT)
    assert first.key != foreign.key and desk.by_key(first.key) is first
    later = [desk.ask("a", PICTURE, TEXT) for _ in range(LAST)]
    assert desk.by_key(first.key) is None
    # All that may still be on their way to the page, in whatever order they come.
    assert [desk.by_key(x.key) for x in later] == later
    desk.leave("a")
    assert not any(desk.by_key(x.key) for x in later)
    assert desk.by_key(foreign.key) is foreign
    assert desk.by_key("guess") is None and desk.by_key([]) is None
    desk.leave("nobody")


def test_what_the_page_opens_with_is_kept_for_good(counting: Counting) -> None:
    desk = Desk(counting, Limits(visits=1))
    opening = desk.open_with(PICTURE, TEXT)
    looked = counting.looked
    asked = desk.ask("a", PICTURE, WORDS[0])  # its picture is not looked at again
    assert counting.looked == looked and asked.key != opening.key
    desk.ask("b", encode_png(noise(1)), TEXT)
    desk.leave("a")
    assert desk.by_key(opening.key) is opening and desk.by_key(asked.key) is None


def test_a_picture_is_looked_at_before_it_is_asked_about(counting: Counting) -> None:
    desk = Desk(counting)
    visit = desk.look("a", PICTURE)
    assert visit.answers == () and desk.rows(visit, 0.5) == []
    shown = np.array(Image.open(io.BytesIO(desk.picture_jpeg(visit))))
    drawn = np.array(Image.open(io.BytesIO(desk.overlay_png(visit, 0.5))))
    assert shown.shape == drawn.shape and counting.looked == 1
    assert np.abs(shown.astype(int) - drawn).mean() < 12  # noise, as JPEG
    with pytest.raises(DataError, match="no answer 0"):
        desk.mask_png(visit, 0.5, 0)
    desk.ask("a", PICTURE, TEXT)
    assert counting.looked == 1


def make_visits(predictor: Predictor, count: int) -> list[Visit]:
    return [Visit(b"", predictor.encode_image(noise(0))) for _ in range(count)]


def test_the_least_recently_used_make_room(predictor: Predictor) -> None:
    prepared = make_visits(predictor, 4)
    visits = Visits(count=3, nbytes=1 << 40)
    for name, visit in zip("abc", prepared[:3], strict=True):
        visits.put(name, visit)
    visits.of("a")
    visits.put("d", prepared[3])
    assert visits.of("b") is None and visits.by_key(prepared[1].key) is None
    assert all(visits.of(x) for x in "acd") and len(visits) == 3


def test_bytes_are_bounded_and_freed(predictor: Predictor) -> None:
    prepared = make_visits(predictor, 9)
    each = prepared[0].image.nbytes
    visits = Visits(count=100, nbytes=3 * each)
    for i, visit in enumerate(prepared):
        visits.put(str(i), visit)
    assert len(visits) == 3 and visits.nbytes == 3 * each
    small = Visits(count=100, nbytes=1)
    small.put("a", prepared[0])
    small.put("b", prepared[1])
    assert small.of("a") is None and small.of("b") is prepared[1]  # the newest stays
    small.put("b", prepared[2])
    assert small.by_key(prepared[1].key) is None and small.of("b") is prepared[2]
    small.drop("b")
    assert small.nbytes == 0


def test_a_sessions_visits_share_their_picture(predictor: Predictor) -> None:
    desk = Desk(predictor)
    visits = [desk.ask("a", PICTURE, TEXT) for _ in range(LAST)]
    answers = sum(x.answers_nbytes for x in visits)
    assert answers > 0 and desk.visits.nbytes == visits[0].image.nbytes + answers


@pytest.mark.parametrize("threshold", [0, 1, 10**400, -1, "x", None, float("nan"), []])
def test_a_threshold_that_is_none_gets_words(threshold: Any) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        threshold_of(threshold)
    assert threshold_of("0.4") == 0.4


def test_limits(counting: Counting) -> None:
    limits = Limits(file_bytes=len(PICTURE), pixels=40 * 56, sentences=4)
    desk = Desk(counting, limits)
    desk.ask("a", PICTURE, TEXT)
    looked = counting.looked
    with pytest.raises(DataError, match="MB; the limit is"):
        desk.ask("a", PICTURE + b" ", TEXT)
    with pytest.raises(DataError, match="pixels; the limit is"):
        desk.ask("a", encode_png(np.zeros((41, 56, 3), np.uint8)), TEXT)
    with pytest.raises(DataError, match="at most 4"):
        desk.ask("a", PICTURE, TEXT + "\na fifth")
    assert counting.looked == looked
    kept = desk.visits.of("a")
    assert kept and kept.answers[0].expression == WORDS[0]  # after an error too


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_before_it_is_decoded(counting: Counting) -> None:
    huge = io.BytesIO()
    Image.new("1", (20_000, 8_000)).save(huge, "PNG")
    with pytest.raises(DataError, match="20000 x 8000 pixels"):
        Desk(counting).ask("a", huge.getvalue(), TEXT)
    assert counting.looked == 0


@pytest.mark.parametrize(
    ("picture", "text", "message"),
    [
        (b"", TEXT, "The file is empty"),
        (b"hello", TEXT, "no picture that the page knows. The page reads JPEG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", TEXT, "HEIC"),
        (PICTURE[: len(PICTURE) // 2], TEXT, "damaged or cut off"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", TEXT, "no picture"),
        (PICTURE, "", "at least one sentence"),
        (PICTURE, " \n\t\n", "at least one sentence"),
        (PICTURE, None, "must be text"),
        (PICTURE, ["the car"], "must be text"),
        (PICTURE, "the car\n" + "a" * 10_001, "Sentence 2 has 10001 characters"),
        (PICTURE, "a \ud800", "Sentence 1 holds characters that are no text"),
        (PICTURE, "\n".join("abcdefgh" * 5), "at most 32"),
    ],
)
def test_hostile_questions_are_refused(
    predictor: Predictor, picture: bytes, text: Any, message: str
) -> None:
    desk = Desk(predictor)
    with pytest.raises(DataError, match=message):
        desk.ask("a", picture, text)
    assert len(desk.visits) == 0


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, float("nan"), float("inf")])
def test_thresholds_outside_are_refused(predictor: Predictor, threshold: float) -> None:
    desk = Desk(predictor)
    visit = desk.ask("a", PICTURE, TEXT)
    for make in (desk.rows, desk.overlay_png, desk.masks_zip, desk.masks_json):
        with pytest.raises(DataError, match="between 0 and 1"):
            make(visit, threshold)
    with pytest.raises(DataError, match="between 0 and 1"):
        desk.mask_png(visit, threshold, 0)
