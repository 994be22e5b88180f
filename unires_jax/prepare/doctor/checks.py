"""What an examination of data finds: faults by kind, with the first of each named."""

import dataclasses
import re

import numpy as np

from unires_jax.data import records
from unires_jax.data.records import PART, Mask, Record, decode_record_image
from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.expected import FIELDS
from unires_jax.prepare.rejects import Rejects

ERROR, WARNING = "error", "warning"
NAMED = 3  # places named of each kind
BOX_PIXELS, BOX_SHARE = 3.0, 0.1  # what a side of a box may be off by; ours

# The kind of a fault by the words of its message; the first that fits.
KINDS = (
    ("UTF-8", r"UTF-8|utf-8|surrogate|Unicode"),
    (
        "image absent",
        r"no such image|file at .*found none|no row holds its picture|no bytes",
    ),
    ("image unreadable", r"truncated|no whole JPEG|not a readable|pixels, refused"),
    ("sentence empty", r"sent is empty|text: expected a text|sentences?: none"),
    ("mask empty", r"no pixel|at least one pixel|masks? (was|were|is) lost"),
    ("id twice", r"twice|no other mask|again in|has not used|two different"),
    (
        "size differs",
        r"covers \d+ pixels|the image has|other size|another copy|different copies|"
        r"size\]?:|expected the stated|within the picture|\d+ x \d+",
    ),
)


@dataclasses.dataclass
class Finding:
    """One kind of fault of one data set or split."""

    severity: str  # "error" or "warning"
    kind: str
    where: str  # data set, split or file
    count: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)


class Findings:
    """Faults, gathered by kind and place; however many, few are kept."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}

    def add(self, severity: str, kind: str, where: str, told: str) -> None:
        """Note a fault; `told` says which record and what."""
        new = Finding(severity, kind, where)
        finding = self._found.setdefault((kind, where), new)
        finding.count += 1
        if len(finding.examples) < NAMED:
            finding.examples.append(told)

    def error(self, where: str, told: str) -> None:
        """Note an error whose kind its message shows."""
        self.add(ERROR, kind_of(told), where, told)

    def list(self) -> list[Finding]:
        """All, errors first."""
        return sorted(self._found.values(), key=lambda f: (f.severity, f.kind, f.where))

    @property
    def errors(self) -> int:
        """How many faults make the data unfit."""
        return sum(f.count for f in self._found.values() if f.severity == ERROR)


def kind_of(told: str) -> str:
    """The kind of a fault by its message."""
    found = (kind for kind, words in KINDS if re.search(words, told))
    return next(found, "unusable")


class NotedRejects(Rejects):
    """What a reader refuses, as findings; there is no limit."""

    def __init__(self, findings: Findings, where: str) -> None:
        super().__init__()
        self._findings, self._where = findings, where

    def note(self, record: str, reason: str) -> None:
        """Note an entry that cannot be converted."""
        self.count += 1
        self._findings.error(self._where, f"{record}: {reason}")

    def check(self) -> None:
        """However many there are, all are told."""


class SplitCheck:
    """Counts the records of one split and notes their faults."""

    def __init__(self, findings: Findings, where: str) -> None:
        """`where` names data set and split."""
        self.counts = dict.fromkeys((*FIELDS, "masks"), 0)
        self.image_ids: set[int] = set()
        self._findings, self._where = findings, where

    def add(self, record: Record, name: str = "") -> None:
        """Look at a record; `name` says where it is."""
        name = name or f"image {record.image_id} ({record.filename})"
        self._count(record)
        if record.image_id in self.image_ids:
            self._error(f"{name}: image_id {record.image_id} occurs twice")
        self.image_ids.add(record.image_id)
        for check in (records.validate, decode_record_image):
            try:
                check(record)
            except DataError as error:
                text = str(error).removeprefix(f"{record.source} ")
                known = text.startswith("image ")
                self._error(text if known else f"{name}: {text}")
        self._check_masks(record, name)
        self._check_words(record, name)

    def _count(self, record: Record) -> None:
        said = record.expressions
        self.counts["images"] += 1
        self.counts["masks"] += len(record.masks)
        self.counts["referents"] += len({x.ref_id for x in said})
        self.counts["expressions"] += len(said)
        self.counts["part_expressions"] += sum(x.level == PART for x in said)

    def _error(self, told: str) -> None:
        self._findings.error(self._where, told)

    def _warn(self, kind: str, told: str) -> None:
        self._findings.add(WARNING, kind, self._where, told)

    def _check_masks(self, record: Record, name: str) -> None:
        used = {t for x in record.expressions for t in x.targets}
        rles: dict[int, str] = {}
        for i, mask in enumerate(record.masks):
            at = f"{name}: masks[{i}] (ann_id {mask.ann_id})"
            if rles.setdefault(mask.ann_id, mask.rle) != mask.rle:
                self._error(f"{at}: this ann_id occurs twice, with different masks")
            box = extent(mask, record.height, record.width)
            if box is None:
                continue  # told by the record's own check
            if not box[2]:
                told = f"{at}: holds no pixel"
                severity = ERROR if i in used else WARNING
                self._findings.add(severity, "mask empty", self._where, told)
            elif boxes_differ(mask.bbox, box):
                self._warn(
                    "box differs",
                    f"{at}: bbox {_rounded(mask.bbox)}, its pixels {_rounded(box)}",
                )

    def _check_words(self, record: Record, name: str) -> None:
        for x in record.expressions:
            if "\ufffd" in x.raw + x.sent:
                told = f"{name}: sentence {x.sent_id} {x.raw!r} lost characters"
                self._warn("UTF-8", told)


def extent(
    mask: Mask, height: int, width: int
) -> tuple[float, float, float, float] | None:
    """The box of a mask's pixels (x, y, width, height); None if it cannot be read."""
    try:
        x, y, w, h = RunMask.from_counts(mask.rle, height, width).box
    except DataError:
        return None
    return float(x), float(y), float(w), float(h)


def boxes_differ(given: tuple[float, ...], found: tuple[float, ...]) -> bool:
    """Whether a side is further off than rounding and polygons explain."""
    one, two = (np.array([x, y, x + w, y + h]) for x, y, w, h in (given, found))
    allowed = max(BOX_PIXELS, BOX_SHARE * max(found[2:]))
    return not bool((np.abs(one - two) <= allowed).all())


def _rounded(box: tuple[float, ...]) -> list[float]:
    return [round(v, 1) for v in box]
