"""PartWorld as records: one scene for each seed, split and index."""

import dataclasses
import functools
import multiprocessing
import os
from collections.abc import Iterator
from random import Random

import cv2

from unires_jax import process
from unires_jax.data.records import OBJECT, PART, Expression, Mask, Record
from unires_jax.partworld.kinds import KINDS, NOVEL_PARTS, Rules
from unires_jax.partworld.render import View, jpeg, render
from unires_jax.partworld.scene import plan_scene
from unires_jax.partworld.utterances import Utterance, utterances
from unires_jax.pixels.masks import RunMask

MIN_EXPRESSIONS = 3  # a scene of which less can be said is drawn again
_CHUNK = 32  # scenes drawn by a process at a time
_ID_STRIDE = 10_000_000  # image ids of one split


SPLITS = {
    "train": Rules(),
    "val": Rules(),
    "testA": Rules(living=True),
    "testB": Rules(living=False),
    "val_novel": Rules(novel=True),
}


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture, what is in it and what is said about it."""

    view: View
    utterances: list[Utterance]


def draw_scene(seed: int, split: str, index: int) -> Scene:
    """The scene of a seed, split and index, the same in every process."""
    rules = SPLITS[split]
    r = Random(f"partworld/{seed}/{split}/{index}")
    while True:
        height, width, plans = plan_scene(r, rules)
        view = render(height, width, plans, r)
        if view is None:
            continue
        sentences = utterances(view, rules, r)
        if len(sentences) >= MIN_EXPRESSIONS:
            return Scene(view, sentences)


def draw_record(seed: int, split: str, index: int) -> Record:
    """The scene as a record. Its image_id is unique over splits."""
    scene = draw_scene(seed, split, index)
    image_id = list(SPLITS).index(split) * _ID_STRIDE + index
    masks, places = _masks(scene.view, image_id, SPLITS[split].novel)
    height, width = scene.view.image.shape[:2]
    r = Random(f"partworld/{seed}/{split}/{index}/raw")
    return Record(
        image=jpeg(scene.view.image),
        image_id=image_id,
        height=height,
        width=width,
        masks=masks,
        expressions=_expressions(scene.utterances, places, image_id, r),
        filename=f"{split}_{index:06d}.jpg",
        source=f"partworld seed {seed}",
    )


def draw_records(
    seed: int, split: str, count: int, workers: int | None = None
) -> Iterator[Record]:
    """The first records of a split, in order, drawn by `workers` processes.

    None takes one process for each core. The records do not depend on it.
    """
    workers = min(workers or os.cpu_count() or 1, count // _CHUNK)
    draw = functools.partial(draw_record, seed, split)
    if workers < 2:
        yield from map(draw, range(count))
        return
    context = multiprocessing.get_context("spawn")
    with process.main_left_alone(workers):
        pool = context.Pool(workers, cv2.setNumThreads, (1,))
    with pool:
        yield from pool.imap(draw, range(count), _CHUNK)


def _masks(
    view: View, image_id: int, novel: bool
) -> tuple[tuple[Mask, ...], dict[tuple[int, str], int]]:
    """The masks of all objects and named parts, and the index of each target."""
    masks: list[Mask] = []
    places: dict[tuple[int, str], int] = {}
    ids = list(KINDS)
    for i, thing in enumerate(view.objects):
        regions = {"": thing.whole} | {
            name: region
            for name, region in sorted(thing.parts.items())
            if novel or (thing.kind, name) not in NOVEL_PARTS
        }
        for name, region in regions.items():
            places[i, name] = len(masks)
            runs = RunMask.from_pixels(region.mask)
            masks.append(
                Mask(
                    ann_id=image_id * 100 + len(masks),
                    category=thing.kind,
                    category_id=ids.index(thing.kind),
                    part=name,
                    level=PART if name else OBJECT,
                    parent=places[i, ""] if name else -1,
                    bbox=runs.bbox,
                    area=float(region.area),
                    rle=runs.counts,
                )
            )
    return tuple(masks), places


def _expressions(
    sentences: list[Utterance],
    places: dict[tuple[int, str], int],
    image_id: int,
    r: Random,
) -> tuple[Expression, ...]:
    """One referent for each set of targets, its sentences in the order drawn."""
    groups: dict[object, list[Utterance]] = {}
    for u in sentences:
        groups.setdefault(u.targets or u.text, []).append(u)
    expressions: list[Expression] = []
    for ref, group in enumerate(groups.values()):
        for position, u in enumerate(group):
            expressions.append(
                Expression(
                    ref_id=image_id * 100 + ref,
                    sent_id=image_id * 100 + len(expressions),
                    raw=_raw(u.text, r),
                    sent=u.text,
                    level=PART if u.part else OBJECT,
                    targets=tuple(sorted(places[t] for t in u.targets)),
                    sent_index=position,
                    no_target=not u.targets,
                )
            )
    return tuple(expressions)


def _raw(text: str, r: Random) -> str:
    """The sentence as a person might have typed it."""
    text = text.capitalize() if r.random() < 0.15 else text
    return text + "." if r.random() < 0.1 else text
