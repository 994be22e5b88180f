"""The stage `parts`: the parts of each object, looked for in the object's crop.

All pieces of one name on one object are one mask, as in MRES-32M (section 4). Which
candidates are pieces depends on one another and not on a threshold, so that `filters`
can judge the region with any; the rules are ours.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from unires_jax.engine import boxes
from unires_jax.engine.boxes import Window
from unires_jax.engine.halving import halving
from unires_jax.engine.record import OBJECT, PART, Picture, Region, Scores
from unires_jax.engine.roles import FoundPart, Image, PartFinder, Pixels
from unires_jax.engine.segmenting import SPECK, Measured, segment, share, source
from unires_jax.engine.stages import Context
from unires_jax.pixels.components import clean
from unires_jax.pixels.masks import RunMask

_FLOOR = 0.05  # of a detector's score: a name below it is not there
_PIECE = 0.5  # of its name's best score: a candidate below it is no piece
_TWICE = 0.5  # IoU of the boxes of two pieces: the lesser is the better once more
_PIECES = 16  # of a name on an object, at most


def advance(picture: Picture, image: Image, context: Context) -> Picture:
    """The picture with the parts of its objects that are large and in the vocabulary.

    Raises OutOfMemory where there is no room for one name or one box.
    """
    if not {"part_finder", "vocabulary"} <= context.models.keys():
        return picture
    parts = [
        part
        for region in picture.regions
        if region.level == OBJECT and region.rle
        for part in _parts(region, image, context)
    ]
    return dataclasses.replace(
        picture, regions=picture.regions + _ranked(picture, parts)
    )


@dataclasses.dataclass(frozen=True)
class _Crop:
    """An object cut out of its picture."""

    parent: Region
    image: Image
    inside: Pixels  # the object's
    window: Window
    size: tuple[int, int]  # of the picture: height, width

    def region(
        self, index: int, pieces: list[FoundPart], masks: list[Measured]
    ) -> Region:
        """A part of the object, of its pieces; of a segmenter's scores the worst."""
        union = np.logical_or.reduce([measured.mask for measured in masks])
        part = union & self.inside
        runs = RunMask.from_pixels(self.window.paste(part, *self.size))
        scores: Scores = {
            **_worst([measured.scores for measured in masks]),
            "detector": pieces[0].score,
            "contain": share(part, union),
            "area_ratio": share(part, self.inside),
        }
        box = boxes.around([piece.box for piece in pieces])
        return Region(
            id=f"{self.parent.id}/p{index}",
            level=PART,
            category=self.parent.category,
            category_raw=self.parent.category_raw,
            box=self.window.outer(box),
            parent=self.parent.id,
            part=pieces[0].name,
            rle=runs.counts if runs.area else "",
            area=runs.area,
            scores=scores,
        )


def _worst(scores: Sequence[Scores]) -> Scores:
    """The least value of each score; what is no number is less than any."""
    worst: Scores = {}
    for name in dict.fromkeys(name for some in scores for name in some):
        values = [value for some in scores if (value := some.get(name)) is not None]
        worst[name] = min(v if math.isfinite(v) else -1.0 for v in values)
    return worst


def _parts(region: Region, image: Image, context: Context) -> list[Region]:
    """The parts of one object."""
    settings, size = context.config.expressions, (image.shape[0], image.shape[1])
    runs = RunMask.from_counts(region.rle, *size)
    names = list(dict.fromkeys(context.models["vocabulary"].parts(region.category)))
    if max(runs.box[2:]) < settings.object_side or not names:
        return []
    window = boxes.window(boxes.of(runs), *size, settings.crop)
    crop = _Crop(region, window.cut(image), window.cut(runs.pixels()), window, size)
    candidates = halving(
        lambda some: _find(context.models["part_finder"], crop, some),
        names,
        len(names),
    )
    parts = [pieces for some in candidates if (pieces := _pieces(some, crop))]
    masks = iter(_masks([piece for part in parts for piece in part], crop, context))
    return [
        dataclasses.replace(
            crop.region(index, pieces, [next(masks) for _ in pieces]),
            src=_sources(pieces, context),
        )
        for index, pieces in enumerate(parts)
    ]


def _find(
    finder: PartFinder, crop: _Crop, names: Sequence[str]
) -> list[list[FoundPart]]:
    """The candidates of each name."""
    found = finder.find(crop.image, crop.inside, crop.parent.category, names)
    return [[part for part in found if part.name == name] for name in names]


def _pieces(candidates: Iterable[FoundPart], crop: _Crop) -> list[FoundPart]:
    """Those of a name's candidates that are pieces of it, the best first.

    A score that is no number is -1: nothing passes with it, and the record shows it.
    """
    usable = [part for c in candidates if (part := _usable(c, crop.inside.shape))]
    usable.sort(key=lambda part: -part.score)
    if not usable or 0 <= usable[0].score < _FLOOR:
        return []
    pieces: list[FoundPart] = []
    for part in usable:
        overlaps = [boxes.iou(part.box, piece.box) for piece in pieces]
        if part.score >= _PIECE * usable[0].score and max(overlaps, default=0) < _TWICE:
            pieces.append(part)
    return pieces[:_PIECES] or usable[:1]


def _usable(part: FoundPart, size: tuple[int, ...]) -> FoundPart | None:
    """A candidate within its crop; None without any place there."""
    mask = part.mask
    if mask is not None and mask.shape != size:
        mask = None
    box = boxes.clip(part.box, size[0], size[1])
    if mask is None and not boxes.area(box):
        return None
    score = float(part.score) if math.isfinite(part.score) else -1.0
    return part._replace(box=box, score=score, mask=mask)


def _masks(pieces: list[FoundPart], crop: _Crop, context: Context) -> list[Measured]:
    """The mask of each piece: the finder's own, else the segmenter's for its box."""
    prompts = [piece.box for piece in pieces if piece.mask is None]
    answers = iter(
        segment(
            context.models["segmenter"],
            crop.image,
            prompts,
            context.config.models.batch,
        )
        if prompts
        else ()
    )
    return [
        next(answers)
        if piece.mask is None
        else Measured(clean(piece.mask.astype(bool), SPECK)[0], {})
        for piece in pieces
    ]


def _sources(pieces: list[FoundPart], context: Context) -> dict[str, str]:
    """Which models gave a part's boxes and masks."""
    finder = source(context.models["part_finder"])
    own = all(piece.mask is not None for piece in pieces)
    return {
        "box": finder,
        "mask": finder if own else source(context.models["segmenter"]),
    }


def _ranked(picture: Picture, parts: list[Region]) -> tuple[Region, ...]:
    """The parts of a picture with their ranks and their overlaps with others.

    Of a part that two objects have, the smaller object's is the better.
    """
    size = picture.height, picture.width
    masks = {p.id: RunMask.from_counts(p.rle, *size) for p in parts if p.rle}
    areas = {region.id: region.area for region in picture.regions}
    ranked = []
    for i, part in enumerate(parts):
        better = [
            other
            for j, other in enumerate(parts)
            if other.parent == part.parent and (-_score(other), j) < (-_score(part), i)
        ]
        alike = [
            other
            for j, other in enumerate(parts)
            if other.part == part.part
            and (areas[other.parent], j) < (areas[part.parent], i)
        ]
        scores: Scores = {
            "same_name": _overlap(part, alike, masks),
            "same_place": _overlap(part, better, masks),
            "rank": float(len(better)),
        }
        ranked.append(dataclasses.replace(part, scores={**part.scores, **scores}))
    return tuple(ranked)


def _score(part: Region) -> float:
    return part.scores["detector"] or 0.0


def _overlap(part: Region, others: list[Region], masks: Mapping[str, RunMask]) -> float:
    """The largest IoU of a part with any of the others."""
    if part.id not in masks:
        return 0.0
    best = 0.0
    for other in others:
        if other.id in masks:
            shared, covered = masks[part.id].intersection_union(masks[other.id])
            best = max(best, shared / covered)
    return best
