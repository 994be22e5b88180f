"""The truth as every model: `exact:<MRES JSONL, or a folder of it>[?<options>]`.

It knows a picture, an object's crop and a region's crop by their pixels, and answers
what the file says of them; of what the file does not say, nothing. Options are written
as of a web address: `boxes=1` gives parts as boxes alone, `faults=eroded,leaky` plants
faults, each in one thing of every picture. FAULTS says which code each must yield.
Source: ours; for tests, and to see what the engine makes of given masks.
"""

import dataclasses
import functools
import hashlib
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from unires_jax import limits
from unires_jax.data.records import OBJECT, Record, runs_of
from unires_jax.engine import boxes as boxes_
from unires_jax.engine.backends.folders import file_digest
from unires_jax.engine.boxes import Box, Window
from unires_jax.engine.lexemes import words
from unires_jax.engine.roles import (
    Boxes,
    Caption,
    Crop,
    FoundPart,
    Image,
    ModelError,
    OutOfMemory,
    Pixels,
    Segmented,
)
from unires_jax.engine.settings import ExpressionSettings
from unires_jax.errors import DataError
from unires_jax.files import local
from unires_jax.pixels.images import decode_image
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.mres import jsonl
from unires_jax.prepare.mres.line import parse

# What can be planted, and the code that it must yield. The victim is a picture's first
# object, its first part, or the first of the texts that are asked for.
FAULTS = {
    "exception": "E1",  # on every call
    "out_of_memory": "E1",  # for any number of boxes
    "narrow": "",  # for more than one box: halving helps
    "eroded": "M1",
    "nan": "M1",  # the segmenter's estimate is no number
    "unstable": "M2",
    "whole": "M3",  # the mask is all of the picture
    "empty": "M3",
    "shape": "M3",  # the mask is another picture's
    "off_box": "M4",
    "islands": "M5",
    "faint_part": "P1",
    "part_outside": "P2",
    "part_whole": "P3",  # the part is its object
    "doubled_part": "P4",  # by a second name
    "no_text": "T1",
    "leaky": "T1",
    "endless": "T1",
    "nameless": "T2",  # the text of a part has not its name
    "extra": "T4",  # there is an instance without a box
    "foreign": "C1",  # the text is of no picture here
    "nan_clip": "C1",
    "swapped": "C2",  # two objects have each other's text
    "ambiguous": "U1",  # the grounder finds two regions by one text
    "answers_parent": "U2",
    "present": "U3",  # the detector finds all that is said to be absent
}
_DOUBLE = "copy"  # the name of the part that is found twice
_FOREIGN = "something of another picture"
_OWN, _NEUTRAL, _BAD = 0.35, 0.25, 0.05  # cosines
_LEAKY = "the thing <loc_12><loc_500>"
_ENDLESS = "and so on " * 400


@dataclasses.dataclass(frozen=True)
class _Truth:
    """What the file says of one picture."""

    record: Record  # without its bytes
    boxes: tuple[Box, ...]  # of its masks

    @classmethod
    def of(cls, record: Record) -> "_Truth":
        """The truth of a record."""
        record = dataclasses.replace(record, image=b"")
        masks = (runs_of(record, mask) for mask in record.masks)
        return cls(record, tuple(map(boxes_.of, masks)))

    def mask(self, index: int) -> RunMask:
        """One of its masks."""
        return runs_of(self.record, self.record.masks[index])

    @functools.cached_property
    def targets(self) -> dict[str, set[int]]:
        """What each text denotes."""
        targets: dict[str, set[int]] = {}
        for expression in self.record.expressions:
            targets.setdefault(_plain(expression.sent), set()).update(
                expression.targets
            )
        said = set(targets)
        for i, text in enumerate(map(_plain, self.texts)):
            if text not in said:
                targets.setdefault(text, set()).add(i)
        return targets

    @functools.cached_property
    def texts(self) -> list[str]:
        """What each mask is called: by its own text of most words, or by its names."""
        own: dict[int, str] = {}
        for x in self.record.expressions:
            if len(x.targets) == 1:
                known = own.get(x.targets[0], "")
                if len(x.raw.split()) > len(known.split()):
                    own[x.targets[0]] = x.raw
        return [
            own.get(i)
            or (f"the {m.part} of the {m.category}" if m.part else f"the {m.category}")
            for i, m in enumerate(self.record.masks)
        ]

    def objects(self) -> list[int]:
        """Places of the objects among the masks."""
        return [i for i, m in enumerate(self.record.masks) if m.level == OBJECT]

    def parts(self, parent: int) -> list[int]:
        """Places of an object's parts."""
        return [i for i, m in enumerate(self.record.masks) if m.parent == parent]

    def first_with_parts(self) -> int:
        """The first object that has parts; -1 without any."""
        return next((i for i in self.objects() if self.parts(i)), -1)

    def windows(self) -> list[Window]:
        """The whole picture, and its objects' surroundings as `parts` cuts them."""
        size = self.record.height, self.record.width
        grown = ExpressionSettings().crop
        around = [boxes_.window(self.boxes[i], *size, grown) for i in self.objects()]
        return [Window(0, size[0], 0, size[1]), *around]

    def is_of(self, text: str, window: Window) -> bool:
        """Whether a text denotes the region of which this is the crop."""
        size = self.record.height, self.record.width
        targets = self.targets.get(text, ())
        return any(boxes_.window(self.boxes[i], *size) == window for i in targets)

    def fits(self, pixels: Pixels, window: Window) -> int:
        """The object that these pixels of a window are, or the nearest."""
        runs = RunMask.from_pixels(pixels)
        return max(
            self.objects(),
            key=lambda i: _iou(
                RunMask.from_pixels(window.cut(self.mask(i).pixels())), runs
            ),
        )

    def nearest(self, box: Box) -> int | None:
        """The mask whose box fits best; None where none overlaps it."""
        if not self.boxes:
            return None
        ious = boxes_.ious(np.array([box], float), np.array(self.boxes, float))[0]
        return int(ious.argmax()) if ious.max() > 0 else None


class _Place(NamedTuple):
    """Where pixels are from."""

    truth: _Truth
    window: Window  # all of the picture, an object's surroundings, a region


def _iou(a: RunMask, b: RunMask) -> float:
    shared, covered = a.intersection_union(b)
    return shared / covered if covered else 0.0


def _found(name: str, mask: RunMask, window: Window) -> FoundPart:
    """What a window shows of a mask."""
    box = window.inner(boxes_.of(mask))
    return FoundPart(name, box, 1.0, window.cut(mask.pixels()))


def _plain(text: str) -> str:
    return " ".join(words(text))


def _key(pixels: Crop) -> bytes:
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def fingerprint_of(checkpoint: str) -> str:
    """Of the files of lines and the options: 12 hex digits of SHA-256.

    Raises ModelError for files that are not there.
    """
    place, _, query = checkpoint.partition("?")
    digest = hashlib.sha256(query.encode())
    try:
        for path in _files(local(place)):
            digest.update(file_digest(path))
    except (DataError, OSError) as error:
        raise ModelError(f"exact:{checkpoint}: {error}") from None
    return digest.hexdigest()[:12]


class Exact:
    """Truth in every role."""

    name = "exact"
    licence = "that of the data"

    def __init__(self, checkpoint: str, *, device: str = "cpu", dtype: str = "auto"):
        """`device` and `dtype` are not used.

        Raises ModelError for a file that is not there, and for unknown options.
        """
        place, _, query = checkpoint.partition("?")
        options = dict(urllib.parse.parse_qsl(query))
        self._faults = set(filter(None, options.pop("faults", "").split(",")))
        self._boxes_only = options.pop("boxes", "") == "1"
        if unknown := [*options, *(self._faults - FAULTS.keys())]:
            raise ModelError(
                f"exact:{checkpoint}: {unknown[0]!r} is neither an option (boxes, "
                f"faults) nor a fault; faults are {', '.join(FAULTS)}"
            )
        self.fingerprint = fingerprint_of(checkpoint)
        self._files = _files(local(place))
        self._records = self._read()
        self._places: dict[bytes, _Place] = {}

    def _read(self) -> Iterator[Record]:
        for path in self._files:
            with jsonl.opened(path) as lines:
                number = 0
                while line := lines.readline(limits.LINE_BYTES):
                    number += 1
                    try:
                        if line.strip():
                            yield parse(line, path.parent)
                    except DataError as error:
                        raise ModelError(f"{path}:{number}: {error}") from None

    def _place(self, pixels: Crop) -> _Place | None:
        """Where a picture, or an object's crop, is from; None if from nowhere here.

        Pictures are read in turn until they are met: most are asked for in that order.
        """
        key = _key(pixels)
        while key not in self._places:
            record = next(self._records, None)
            if record is None:
                return None
            truth, image = _Truth.of(record), decode_image(record.image)
            for window in truth.windows():
                self._places.setdefault(_key(window.cut(image)), _Place(truth, window))
        return self._places[key]

    @functools.cached_property
    def _crops(self) -> dict[bytes, list[_Place]]:
        """Regions by the pixels of their crops; those of small ones are often equal."""
        crops: dict[bytes, list[_Place]] = {}
        for record in self._read():
            truth, image = _Truth.of(record), decode_image(record.image)
            for box in truth.boxes:
                window = boxes_.window(box, *image.shape[:2])
                key = _key(boxes_.square(window.cut(image)))
                crops.setdefault(key, []).append(_Place(truth, window))
        return crops

    # Roles.

    def segment(self, image: Image, boxes: Boxes) -> list[Segmented]:
        """The mask whose box fits each best."""
        self._fail(len(boxes))
        place, answers = self._place(image), []
        for box in boxes.tolist():
            answer = Segmented(np.zeros(image.shape[:2], bool), 0.0, 1.0)
            if place is not None:
                truth, window = place
                index = truth.nearest(window.outer(tuple(box)))
                if index is not None:
                    mask = window.cut(truth.mask(index).pixels())
                    answer = Segmented(mask, 1.0, 1.0)
                if index in truth.objects()[:1]:
                    answer = self._spoilt(answer)
            answers.append(answer)
        return answers

    def find(
        self,
        image: Image,
        object_mask: Pixels | None,
        object_name: str,
        names: Sequence[str],
    ) -> list[FoundPart]:
        """The object's parts, or what is in the whole picture, by name."""
        self._fail(0)
        place = self._place(image)
        if place is None:
            return []
        truth, window = place
        if object_mask is None:
            return self._search(truth, names)
        parent = truth.fits(object_mask, window)
        found = [
            _found(truth.record.masks[i].part, truth.mask(i), window)
            for i in truth.parts(parent)
            if truth.record.masks[i].part in names
        ]
        if found and parent == truth.first_with_parts():
            found[0] = self._spoilt_part(found[0], object_mask)
            if _DOUBLE in names:
                found.append(found[0]._replace(name=_DOUBLE, score=0.9))
        return [f._replace(mask=None) for f in found] if self._boxes_only else found

    def _search(self, truth: _Truth, names: Sequence[str]) -> list[FoundPart]:
        """Objects of a category, and what a text denotes, in the whole picture."""
        window = truth.windows()[0]
        found = []
        for name in names:
            of_kind = {
                i for i in truth.objects() if truth.record.masks[i].category == name
            }
            meant = of_kind or truth.targets.get(_plain(name), set())
            found += [_found(name, truth.mask(i), window) for i in sorted(meant)]
            if "extra" in self._faults and of_kind:
                found.append(FoundPart(name, _corner(truth), 0.9, None))
            if "present" in self._faults and not meant:
                found.append(FoundPart(name, (0.0, 0.0, 9.0, 9.0), 0.9, None))
        return found

    def caption(self, image: Image, boxes: Boxes) -> list[Caption]:
        """The text of the mask whose box fits each best."""
        self._fail(0)
        place = self._place(image)
        texts = []
        for box in boxes.tolist():
            text = ""
            if place is not None:
                index = place.truth.nearest(tuple(box))
                text = "" if index is None else self._text(place.truth, index)
            texts.append(text)
        return [Caption(text, 0.0) for text in texts]

    def score(
        self, crops: Sequence[Crop], texts: Sequence[str]
    ) -> Float32[np.ndarray, "crops texts"]:
        """High for a region's own text, low for pixels and a text of no picture."""
        cosines = np.full((len(crops), len(texts)), _NEUTRAL, np.float32)
        for row, crop in zip(cosines, crops, strict=True):
            places = self._crops.get(_key(crop), [])
            for column, text in enumerate(map(_plain, texts)):
                owners = [p for p in places if p.truth.is_of(text, p.window)]
                if not places or text == _FOREIGN:
                    row[column] = _BAD
                elif owners:
                    row[column] = self._cosine(*owners[0])
        return cosines

    def ground(self, image: Image, texts: Sequence[str]) -> list[Pixels]:
        """What each text denotes; nothing for one that is not in the file."""
        place, size = self._place(image), image.shape[:2]
        if place is None:
            return [np.zeros(size, bool) for _ in texts]
        truth = place.truth
        return [
            RunMask.union([truth.mask(i) for i in sorted(meant)], *size).pixels()
            for meant in (self._meant(truth, text) for text in map(_plain, texts))
        ]

    def parts(self, category: str) -> list[str]:
        """The parts that objects of this category have anywhere in the file."""
        names = self._vocabulary.get(category, [])
        return [*names, _DOUBLE] if names and "doubled_part" in self._faults else names

    @functools.cached_property
    def _vocabulary(self) -> dict[str, list[str]]:
        names: dict[str, set[str]] = {}
        for record in self._read():
            for mask in record.masks:
                if mask.part:
                    names.setdefault(mask.category, set()).add(mask.part)
        return {category: sorted(some) for category, some in names.items()}

    # Faults.

    def _fail(self, boxes: int) -> None:
        if "exception" in self._faults:
            raise RuntimeError("a planted fault")
        full = boxes > 0 and "out_of_memory" in self._faults
        if full or (boxes > 1 and "narrow" in self._faults):
            raise OutOfMemory(f"no room for {boxes} boxes, a planted fault")

    def _spoilt(self, answer: Segmented) -> Segmented:
        """The mask of a picture's first object."""
        mask, faults = answer.mask, self._faults
        if "eroded" in faults:
            return answer._replace(mask=_half(mask), iou=0.5)
        if "nan" in faults:
            return answer._replace(iou=float("nan"))
        if "unstable" in faults:
            return answer._replace(stability=0.5)
        if "whole" in faults:
            return answer._replace(mask=np.ones_like(mask))
        if "empty" in faults:
            return answer._replace(mask=np.zeros_like(mask))
        if "shape" in faults:
            return answer._replace(mask=mask[:-1])
        if "off_box" in faults:
            return answer._replace(mask=_shifted(mask))
        if "islands" in faults:
            return answer._replace(mask=_cut_in_two(mask))
        return answer

    def _spoilt_part(self, part: FoundPart, whole: Pixels) -> FoundPart:
        """The first part of the first object that has some."""
        assert part.mask is not None
        if "faint_part" in self._faults:
            return part._replace(score=0.1)
        if "part_outside" in self._faults:
            return part._replace(mask=part.mask | ~whole)
        if "part_whole" in self._faults:
            return part._replace(mask=whole)
        return part

    def _cosine(self, truth: _Truth, window: Window) -> float:
        """Of a region and its own text."""
        size = truth.record.height, truth.record.width
        first = boxes_.window(truth.boxes[truth.objects()[0]], *size) == window
        return float("nan") if first and "nan_clip" in self._faults else _OWN

    def _text(self, truth: _Truth, index: int) -> str:
        objects, faults = truth.objects(), self._faults
        if "swapped" in faults and index in objects[:2] and len(objects) > 1:
            return truth.texts[objects[1 - objects.index(index)]]
        first_part = next((i for i in range(len(truth.texts)) if i not in objects), -1)
        if "nameless" in faults and index == first_part:
            return "a nice thing"
        if index not in objects[:1]:
            return truth.texts[index]
        planted = {
            "no_text": "",
            "leaky": _LEAKY,
            "endless": _ENDLESS,
            "foreign": _FOREIGN,
        }
        return next((planted[f] for f in planted if f in faults), truth.texts[index])

    def _meant(self, truth: _Truth, text: str) -> set[int]:
        """What the grounder finds."""
        meant, objects = truth.targets.get(text, set()), truth.objects()
        if "ambiguous" in self._faults and objects[:1] == sorted(meant):
            return set(objects[1:2])
        parents = {truth.record.masks[i].parent for i in meant}
        if "answers_parent" in self._faults and parents == {truth.first_with_parts()}:
            return parents
        return meant


def _files(path: Path) -> list[Path]:
    """The file itself, or those of a folder. Raises DataError where there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError("no such file or folder")
    files = sorted(p for p in path.iterdir() if p.name.endswith(jsonl.SUFFIXES))
    if not files:
        raise DataError(f"no {' or '.join(jsonl.SUFFIXES)} file in this folder")
    return files


def _corner(truth: _Truth) -> Box:
    """A box of the picture that overlaps with no mask's much."""
    height, width = truth.record.height, truth.record.width
    side = min(height, width) / 8
    corners = [
        (x, y, x + side, y + side)
        for x in (0.0, width - side)
        for y in (0.0, height - side)
    ]
    return min(corners, key=lambda c: max(boxes_.iou(c, b) for b in truth.boxes))


def _half(mask: Pixels) -> Pixels:
    """The left half of a mask."""
    columns = np.flatnonzero(mask.any(0))
    half = mask.copy()
    half[:, (columns[0] + columns[-1] + 1) // 2 :] = False
    return half


def _shifted(mask: Pixels) -> Pixels:
    """A mask moved by half its width, to where there is more room."""
    columns = np.flatnonzero(mask.any(0))
    step = int(columns[-1] - columns[0]) // 2 + 1
    shifted = np.zeros_like(mask)
    if columns[0] > mask.shape[1] - columns[-1]:
        shifted[:, :-step] = mask[:, step:]
    else:
        shifted[:, step:] = mask[:, :-step]
    return shifted


def _cut_in_two(mask: Pixels) -> Pixels:
    """A mask without the columns in its middle: two pieces of about one size."""
    columns = np.cumsum(mask.sum(0))
    middle = int(np.searchsorted(columns, columns[-1] / 2))
    cut = mask.copy()
    cut[:, max(middle - 1, 0) : middle + 2] = False
    return cut
