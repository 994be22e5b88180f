"""One picture of a run: expressions drawn at random, each over its own photograph."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from unires_jax.data.records import OBJECT, PART
from unires_jax.evaluation.evaluator import Split
from unires_jax.evaluation.report import pictures
from unires_jax.evaluation.results import Result

SIDE, GAP = 256, 8  # pixels
LINE = 40  # letters of a title that fit below a picture


def gallery(
    split: Split, results: Sequence[Result], columns: int = 5, seed: int = 0
) -> UInt8[np.ndarray, "h w 3"]:
    """A row of object and a row of part expressions with their IoU, RGB.

    Drawn from all targeted expressions, each from another picture: nothing is picked
    by how well it went.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for level in (OBJECT, PART):
        of_level = [r for r in results if r.targeted and r.level == level]
        shuffled = [of_level[i] for i in rng.permutation(len(of_level))]
        by_picture = {r.image: r for r in shuffled}
        cells = [_cell(split, r) for r in list(by_picture.values())[:columns]]
        if cells:
            rows.append(_row(cells, columns))
    return np.concatenate(rows or [_row([], columns)])


def encode(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The picture as JPEG."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return data.tobytes()


def _cell(split: Split, result: Result) -> UInt8[np.ndarray, "h w 3"]:
    image = pictures.picture(split[result.image], SIDE)
    image = pictures.blend(image, pictures.layer(result, SIDE))
    square = np.full((SIDE, SIDE, 3), 255, np.uint8)
    square[: image.shape[0], : image.shape[1]] = image
    words, iou = result.sentence, f"  {100 * result.iou:.0f}"
    room = LINE - len(iou)
    words = words if len(words) <= room else words[: room - 3] + "..."
    return pictures.titled(square, words + iou)


def _row(
    cells: Sequence[UInt8[np.ndarray, "_ _ 3"]], columns: int
) -> UInt8[np.ndarray, "h w 3"]:
    height = SIDE + 22 + GAP
    row = np.full((height, columns * (SIDE + GAP) - GAP, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        left = i * (SIDE + GAP)
        row[: cell.shape[0], left : left + SIDE] = cell
    return row
