"""What an examination of data finds: faults by kind, with the first of each named."""

import dataclasses

import numpy as np

from unires_jax.data import records
from unires_jax.data.catalogue import COUNTED
from unires_jax.data.records import PART, Record, decode_record_image
from unires_jax.data.sentence_length import READ, tokens_at_least
from unires_jax.errors import DataError, Kind
from unires_jax.pixels import orientation
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects

ERROR, WARNING = "error", "warning"
NOTE = "to know"  # the kind of what is no fault
NAMED = 3  # places named of each kind
BOX_PIXELS, BOX_SHARE = 3.0, 0.1  # what a side of a box may be off by; ours


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
        self._by_kind: dict[tuple[str, str], Finding] = {}

    def add(self, severity: str, kind: str, where: str, text: str) -> None:
        """Note a fault; `text` says which record and what."""
        new = Finding(severity, kind, where)
        finding = self._by_kind.setdefault((kind, where), new)
        finding.count += 1
        if len(finding.examples) < NAMED:
            finding.examples.append(text)

    def error(self, where: str, error: DataError) -> None:
        """Note an error under its own kind."""
        self.add(ERROR, error.kind, where, str(error))

    def warning(self, where: str, error: DataError) -> None:
        """Note what makes data only doubtful."""
        self.add(WARNING, error.kind, where, str(error))

    def notes(self, where: str, notes: Notes) -> None:
        """Note what a conversion would tell beside faults."""
        for note in notes:
            self.add(WARNING, NOTE, where, str(note))

    def list(self) -> list[Finding]:
        """All, errors first."""
        findings = self._by_kind.values()
        return sorted(findings, key=lambda f: (f.severity, f.kind, f.where))


class NotedRejects(Rejects):
    """What a reader refuses, as findings; there is no limit."""

    def __init__(self, findings: Findings, where: str) -> None:
        super().__init__()
        self._findings, self._where = findings, where

    def note(self, record: str, error: DataError) -> None:
        """Note an entry that cannot be converted."""
        self.count += 1
        self._findings.error(self._where, error.at(record))

    def check(self) -> None:
        """However many there are, all are told."""


class SplitCheck:
    """Counts the records of one split and notes their faults."""

    def __init__(self, findings: Findings, where: str) -> None:
        """`where` names data set and split."""
        self.counts = dict.fromkeys((*COUNTED, "masks"), 0)
        self.image_ids: set[int] = set()
        self._pictures: dict[int, int] = {}  # hash of the bytes: image_id
        self._findings, self._where = findings, where

    def add(self, record: Record, place: str = "") -> None:
        """Look at a record; `place` says where it is."""
        place = place or f"image {record.image_id} ({record.filename})"
        self._count(record)
        if record.image_id in self.image_ids:
            text = f"image_id {record.image_id} occurs twice"
            self._error(DataError(text, place=place, kind=Kind.ID_TWICE))
        self.image_ids.add(record.image_id)
        self._pictures[hash(record.image)] = record.image_id
        try:
            # It names the image; the source is named by the finding.
            records.validate(dataclasses.replace(record, source=""))
        except DataError as error:
            self._error(error)
        try:
            decode_record_image(record)
        except DataError as error:
            self._error(error.at(place))
        self._check_orientation(record, place)
        self._check_masks(record, place)
        self._check_meanings(record, place)
        for x in record.expressions:
            if "\ufffd" in x.raw + x.sent:
                text = f"sentence {x.sent_id} {x.raw!r} lost characters"
                lost = DataError(text, place=place, kind=Kind.ENCODING)
                self._findings.warning(self._where, lost)
            if (tokens := tokens_at_least(x.sent)) > READ:
                text = (
                    f"sentence {x.sent_id} has {tokens} tokens or more, and CLIP reads "
                    f"{READ}: its end will not be read"
                )
                self._findings.add(WARNING, "sentence long", self._where, text)

    def _check_meanings(self, record: Record, place: str) -> None:
        """Warn of a sentence that has two meanings in one picture."""
        meanings: dict[tuple[str, int], tuple[int, tuple[int, ...]]] = {}
        for x in record.expressions:
            targets = tuple(sorted(x.targets))
            sent_id, first = meanings.setdefault(
                (x.sent, x.level), (x.sent_id, targets)
            )
            if first != targets:
                text = (
                    f"{place}: {x.sent!r} means other masks as sentence {sent_id} than "
                    f"as sentence {x.sent_id}; no model can be right about both"
                )
                self._findings.add(WARNING, "sentence ambiguous", self._where, text)

    def _check_orientation(self, record: Record, place: str) -> None:
        number = orientation.stated(record.image)
        if number != orientation.UPRIGHT:
            text = (
                f"states EXIF orientation {number}; its masks are taken to belong to "
                "the pixels as stored. If they were drawn on the upright picture: "
                "--orientation=upright"
            )
            error = DataError(text, place=place, kind=Kind.ORIENTATION)
            self._findings.warning(self._where, error)

    def pictures_of(self, other: "SplitCheck") -> int:
        """How many pictures another split holds too, under another image_id."""
        shared = self._pictures.keys() & other._pictures.keys()
        return sum(self._pictures[key] != other._pictures[key] for key in shared)

    def _count(self, record: Record) -> None:
        expressions = record.expressions
        self.counts["images"] += 1
        self.counts["masks"] += len(record.masks)
        self.counts["referents"] += len({x.ref_id for x in expressions})
        self.counts["expressions"] += len(expressions)
        self.counts["part_expressions"] += sum(x.level == PART for x in expressions)

    def _error(self, error: DataError) -> None:
        self._findings.error(self._where, error)

    def _check_masks(self, record: Record, place: str) -> None:
        targets = {t for x in record.expressions for t in x.targets}
        rles: dict[int, str] = {}
        for i, mask in enumerate(record.masks):
            at = f"{place}: masks[{i}] (ann_id {mask.ann_id})"
            if rles.setdefault(mask.ann_id, mask.rle) != mask.rle:
                text = "this ann_id occurs twice, with different masks"
                self._error(DataError(text, place=at, kind=Kind.ID_TWICE))
            try:
                runs = records.runs_of(record, mask)
            except DataError:
                continue  # told by the record's own check
            box = runs.bbox
            if not box[2]:
                error = DataError("holds no pixel", place=at, kind=Kind.MASK_EMPTY)
                note = self._findings.error if i in targets else self._findings.warning
                note(self._where, error)
            elif looks_inverted(runs):
                text = (
                    f"{at}: covers the picture's corners and more than half of it; "
                    "is 0 the target in its file?"
                )
                self._findings.add(WARNING, "mask inverted?", self._where, text)
            if boxes_differ(mask.bbox, box) and box[2]:
                text = f"{at}: bbox {_rounded(mask.bbox)}, its pixels {_rounded(box)}"
                self._findings.add(WARNING, "box differs", self._where, text)


def looks_inverted(mask: RunMask) -> bool:
    """Whether a mask holds all four corners and most of a picture, but not all."""
    pixels = mask.height * mask.width
    if not pixels / 2 < mask.area < pixels:
        return False
    whole = mask.pixels()
    return bool(whole[0, 0] & whole[0, -1] & whole[-1, 0] & whole[-1, -1])


def boxes_differ(stored: tuple[float, ...], counted: tuple[float, ...]) -> bool:
    """Whether a side is further off than rounding and polygons explain."""
    a, b = (np.array([x, y, x + w, y + h]) for x, y, w, h in (stored, counted))
    allowed = max(BOX_PIXELS, BOX_SHARE * max(counted[2:]))
    return not bool((np.abs(a - b) <= allowed).all())


def _rounded(box: tuple[float, ...]) -> list[float]:
    return [round(v, 1) for v in box]
