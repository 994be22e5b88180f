"""The stage `scores`: how well each text fits, by models that did not write it.

Three checks, each of its own model and left out without it: an image-text score of the
region's crop, the grounder's answer to the text (as EVF-SAM votes in GroundingSuite),
and a detector that looks over the whole picture for what is said to be absent and for
instances that have no box (as SAM 3's data engine checks exhaustivity). Nothing is
judged here: `filters` does it.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from unires_jax.data.predicates import FAR, NEAR
from unires_jax.engine import boxes
from unires_jax.engine.halving import halving
from unires_jax.engine.lexemes import is_bare
from unires_jax.engine.record import (
    OBJECT,
    Picture,
    Region,
    Scores,
    Text,
)
from unires_jax.engine.roles import Grounder, Image, PartFinder, Scorer
from unires_jax.engine.sayings import READY
from unires_jax.engine.stages import Context
from unires_jax.pixels.masks import RunMask

_SAME = 0.85  # IoU of two regions that are one thing: neither is the other's rival
_NEW = 0.30  # IoU with a box, below which a detection is another instance

Key = tuple[str, int]  # of a text: its region's id and its place there
Masks = Mapping[str, RunMask]


def advance(picture: Picture, image: Image, context: Context) -> Picture:
    """The picture with the scores of its texts, as far as there are models for them.

    Raises OutOfMemory where there is no room for one crop or one text.
    """
    models, batch = context.models, context.config.models.batch
    size = image.shape[:2]
    masks = {r.id: RunMask.from_counts(r.rle, *size) for r in picture.regions if r.rle}
    tables: list[dict[Key, Scores]] = []
    if "scorer" in models:
        tables.append(_clip(picture, image, masks, models["scorer"], batch))
    if "grounder" in models:
        tables.append(_cycle(picture, image, masks, models["grounder"]))
    if "part_finder" in models:
        tables.append(_detected(picture, image, models["part_finder"]))
    regions = (
        dataclasses.replace(
            region,
            texts=tuple(
                _scored(text, [t.get((region.id, i), {}) for t in tables])
                for i, text in enumerate(region.texts)
            ),
        )
        for region in picture.regions
    )
    return dataclasses.replace(picture, regions=tuple(regions))


def _scored(text: Text, scores: Iterable[Scores]) -> Text:
    merged = dict(text.scores)
    for some in scores:
        merged |= some
    return dataclasses.replace(text, scores=merged)


def _texts(picture: Picture) -> dict[Key, tuple[Region, Text]]:
    """All texts that say something, and the regions that hold them."""
    return {
        (region.id, i): (region, text)
        for region in picture.regions
        for i, text in enumerate(region.texts)
        if text.text.strip()
    }


def _clip(
    picture: Picture, image: Image, masks: Masks, scorer: Scorer, batch: int
) -> dict[Key, Scores]:
    """Cosines with the region's crop, and how far ahead of the level's other texts.

    Of texts about one region; those about others are its rivals, unless they were
    dropped before: what fits two things takes no text from either.
    """
    texts = {
        key: (region, text)
        for key, (region, text) in _texts(picture).items()
        if text.targets == (region.id,) and region.id in masks
    }
    if not texts:
        return {}
    said = list(dict.fromkeys(text.text for _, text in texts.values()))
    held = list(dict.fromkeys(region.id for region, _ in texts.values()))
    crops = [
        boxes.square(boxes.window(boxes.of(masks[i]), *image.shape[:2]).cut(image))
        for i in held
    ]
    rows = halving(lambda some: list(scorer.score(some, said)), crops, batch)
    cosines = dict(zip(held, rows, strict=True))
    columns = {text: i for i, text in enumerate(said)}
    scores: dict[Key, Scores] = {}
    for key, (region, text) in texts.items():
        own = float(cosines[region.id][columns[text.text]])
        rivals = [
            columns[other.text]
            for rival, other in texts.values()
            if rival.id != region.id and rival.level == region.level and other.keep
        ]
        scores[key] = {"clip": own, **_ranked(own, cosines[region.id][rivals])}
    return scores


def _ranked(own: float, rivals: Float32[np.ndarray, " n"]) -> Scores:
    if not len(rivals):
        return {"clip_rank": 0.0}
    return {
        "clip_rank": float(np.count_nonzero(rivals > own)),
        "clip_margin": own - float(rivals.max()),
    }


def _cycle(
    picture: Picture, image: Image, masks: Masks, grounder: Grounder
) -> dict[Key, Scores]:
    """What the grounder answers to each text, against the regions of its level."""
    texts = {
        key: (region, text)
        for key, (region, text) in _texts(picture).items()
        if text.targets and all(target in masks for target in text.targets)
    }
    said = list(dict.fromkeys(text.text for _, text in texts.values()))
    size = image.shape[:2]
    pixels = halving(lambda some: list(grounder.ground(image, some)), said, len(said))
    answers = {
        text: RunMask.from_pixels(mask if mask.shape == size else np.zeros(size, bool))
        for text, mask in zip(said, pixels, strict=True)
    }
    about = {text.targets: region.level for region, text in texts.values()}
    targets = {ids: RunMask.union([masks[i] for i in ids], *size) for ids in about}
    rivals = {
        ids: _rivals(picture, level, [masks[i] for i in ids], masks)
        for ids, level in about.items()
    }
    scores: dict[Key, Scores] = {}
    for key, (region, text) in texts.items():
        answer, others = answers[text.text], rivals[text.targets]
        scores[key] = {
            "own_iou": _iou(answer, targets[text.targets]),
            "best_other_iou": max((_iou(answer, r) for r in others), default=0.0),
        }
        if region.parent in masks:
            scores[key]["answer_parent_iou"] = _iou(answer, masks[region.parent])
    return scores


def _rivals(
    picture: Picture, level: str, targets: Sequence[RunMask], masks: Masks
) -> list[RunMask]:
    """The other regions of a level; one of the targets found twice is none."""
    return [
        masks[region.id]
        for region in picture.regions
        if region.level == level and region.id in masks
        if all(_iou(masks[region.id], target) <= _SAME for target in targets)
    ]


def _iou(a: RunMask, b: RunMask) -> float:
    shared, covered = a.intersection_union(b)
    return shared / covered if covered else 0.0


def _detected(picture: Picture, image: Image, finder: PartFinder) -> dict[Key, Scores]:
    """Scores of what negatives describe, and of instances that have no box.

    The latter make doubtful what has no modifier, and what geometry said in comparison
    with all instances, of parts too; a source that marks every one leaves none out.
    """
    texts = _texts(picture)
    absent = {k: t.text for k, (_, t) in texts.items() if t.form == "negative"}
    doubtful = {
        key: region.category
        for key, (region, text) in texts.items()
        if not picture.exhaustive and text.targets and _counts(region, text)
    }
    names = list(dict.fromkeys([*absent.values(), *doubtful.values()]))
    if not names:
        return {}
    phrases = set(absent.values())
    known = [r.box for r in picture.regions if r.level == OBJECT]
    best = dict(
        zip(
            names,
            halving(
                lambda some: _best(finder, image, some, phrases, known),
                names,
                len(names),
            ),
            strict=True,
        )
    )
    wanted = absent | doubtful
    return {key: {"detector": best[name]} for key, name in wanted.items()}


def _counts(region: Region, text: Text) -> bool:
    """Whether it names its thing as there is no other: by kind, or by geometry."""
    bare = is_bare(text.text, (region.category, region.part))
    return bare or text.form not in READY


def _best(
    finder: PartFinder,
    image: Image,
    names: Sequence[str],
    phrases: set[str],
    known: Sequence[boxes.Box],
) -> list[float]:
    """The best score of each name; a category's instances with a box do not count.

    A score that is no number is 1: nothing is shown to be absent by it.
    """
    best = dict.fromkeys(names, 0.0)
    for found in finder.find(image, None, "", names):
        score = float(found.score) if math.isfinite(found.score) else 1.0
        place = boxes.clip(found.box, *image.shape[:2])
        new = all(boxes.iou(place, box) < _NEW for box in known)
        there = _lies(place, found.name, image) if found.name in phrases else new
        if found.name in best and there:
            best[found.name] = max(best[found.name], score)
    return [best[name] for name in names]


def _lies(place: boxes.Box, phrase: str, image: Image) -> bool:
    """Whether a detection is on the side that a phrase ends with: no detector reads it.

    In the middle it is on both sides.
    """
    middle = (place[0] + place[2]) / 2 / image.shape[1]
    if phrase.endswith(" on the left"):
        return middle < FAR
    return not phrase.endswith(" on the right") or middle > NEAR
