"""A contact sheet of scenes with expressions and their masks, for docs and eyes.

python -m unires_jax.partworld.sheet OUT.jpg [--split val] [--seed 0]
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from random import Random

import cv2
import numpy as np
from jaxtyping import UInt8

from unires_jax.partworld.kinds import COLOURS, KINDS
from unires_jax.partworld.render import render
from unires_jax.partworld.scene import plan
from unires_jax.partworld.utterances import Utterance
from unires_jax.partworld.world import Scene, draw_scene

Picture = UInt8[np.ndarray, "y x 3"]
TILE, CAPTION, ZOOM = 220, 34, 4  # pixels: a tile's side, the text below, enlargement
_PAPER, _INK, _LINE = (255, 255, 255), (40, 40, 46), (255, 255, 255)
_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def sheet(scenes: Sequence[Scene], columns: int) -> Picture:
    """Tiles in rows, one expression of each scene lit up, RGB."""
    return _rows([_tile(s, _pick(s, i)) for i, s in enumerate(scenes)], columns)


def _rows(tiles: Sequence[np.ndarray], columns: int) -> Picture:
    starts = range(0, len(tiles) - columns + 1, columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in starts]
    return np.concatenate(rows)


def kinds_chart(columns: int = 8) -> Picture:
    """Every kind twice on white paper, in two drawings and colours."""
    tiles = []
    for row in range(2 * len(KINDS) // columns):
        for column in range(columns):
            kind = list(KINDS)[(row // 2) * columns + column]
            colour = list(COLOURS)[(column + 3 * row) % len(COLOURS)]
            tiles.append(_portrait(kind, colour, row))
    return _rows(tiles, columns)


def _portrait(kind: str, colour: str, drawing: int) -> Picture:
    side = 1.15 * KINDS[kind].side[1]
    item = plan(kind, colour, drawing, side, 0.0, mirrored=drawing % 2 == 1)
    left, top = (124 - item.width) / 2, (124 - item.height) / 2
    item = dataclasses.replace(item, left=left, top=top)
    view = render(124, 124, [item], Random(drawing))
    if view is None:
        raise ValueError(f"{kind}: an object alone was found covered")
    paper = np.full_like(view.image, 255)
    return np.where(view.objects[0].whole.mask[..., None], view.image, paper)


def _pick(scene: Scene, index: int) -> Utterance:
    """Objects and parts in turn, the longest sentence that fits below a tile."""
    fitting = [u for u in scene.utterances if u.targets and _width(u.text) < TILE - 8]
    fitting = fitting or scene.utterances
    return max(fitting, key=lambda u: (u.part == bool(index % 2), len(u.text)))


def _width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _SIZE, 1)[0][0])


def _tile(scene: Scene, utterance: Utterance) -> Picture:
    lit = _lit(scene, utterance)
    scale = (TILE - 8) / max(lit.shape[:2])
    small = cv2.resize(lit, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    tile = np.full((TILE + CAPTION, TILE, 3), _PAPER, np.uint8)
    top, left = (TILE - height) // 2, (TILE - width) // 2
    tile[top : top + height, left : left + width] = small
    start = ((TILE - _width(utterance.text)) // 2, TILE + 14)
    cv2.putText(tile, utterance.text, start, _FONT, _SIZE, _INK, 1, cv2.LINE_AA)
    return tile


def _lit(scene: Scene, utterance: Utterance) -> Picture:
    """The enlarged picture, dimmed but for the targets, which are outlined."""
    image = scene.view.image
    mask = np.zeros(image.shape[:2], np.uint8)
    for index, part in utterance.targets:
        thing = scene.view.objects[index]
        mask |= (thing.parts[part] if part else thing.whole).mask
    big = cv2.resize(image, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    size = big.shape[1::-1]
    soft = cv2.resize(mask * 255, size, interpolation=cv2.INTER_CUBIC) > 127
    grey = cv2.cvtColor(big, cv2.COLOR_RGB2GRAY)[..., None]
    dimmed = (0.4 * big + 0.25 * grey + 50).astype(np.uint8)
    lit = np.where(soft[..., None], big, dimmed)
    outlines, _ = cv2.findContours(
        soft.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    return cv2.drawContours(lit, outlines, -1, _LINE, 3, cv2.LINE_AA)


def main() -> None:
    """Draw a sheet of the first scenes of a split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--kinds", action="store_true", help="portraits, no scenes")
    args = parser.parse_args()
    count = 0 if args.kinds else args.rows * args.columns
    scenes = [draw_scene(args.seed, args.split, i) for i in range(count)]
    picture = kinds_chart() if args.kinds else sheet(scenes, args.columns)
    cv2.imwrite(str(args.out), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
