"""The audit: a person's verdicts on cases drawn at random, and what follows from them.

The paper's "manual audit", repeatable: audit.csv is drawn evenly from all forms that
were kept and all codes, and gives the precision of each with Wilson's interval
(E. B. Wilson, 1927).
"""

import csv
import dataclasses
import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unires_jax import limits
from unires_jax.engine.cases import KEPT, Case
from unires_jax.engine.record import LEVELS, Picture
from unires_jax.engine.samples import Sample
from unires_jax.errors import DataError, Kind, printable, shorten
from unires_jax.files import local, read_bytes
from unires_jax.texts import decoded

CSV = "audit.csv"
RIGHT, WRONG, UNSURE = VERDICTS = ("right", "wrong", "unsure")
_COLUMNS = (
    *("number", "verdict", "remark", "text", "category", "part", "level"),
    *("form", "code", "file", "id", "run"),
)
_NEEDED = ("id", "run", "verdict", "form", "level", "code")
_Z = 1.959964  # of the normal distribution, for 95 %
# What a spreadsheet takes for a formula, at the start of a cell, or of what becomes a
# cell where it expects another sign between cells.
_FORMULA = re.compile(r"(?:^|(?<=[;,\t|]))(?=\s*[=+\-@])")


class Digest:
    """What tells runs apart: the pictures of a plan."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, picture: Picture) -> None:
        """Take the next picture."""
        self._digest.update(f"{picture.image_id} {picture.sha256}\n".encode())

    @property
    def run(self) -> str:
        """The name of the run; no spreadsheet takes it for a number."""
        return f"r{self._digest.hexdigest()[:12]}"


def is_visible(case: Case) -> bool:
    """Whether a case can be judged by looking: all that it is about has a mask."""
    return case.region is not None and all(r.rle for r in case.targets)


def draw(sample: Sample[Case], looks: int) -> list[Case]:
    """`looks` cases: half kept, half dropped, evenly of each stratum, mixed.

    Where one half or stratum has too few, the others have more.
    """
    kept = [s for s in sample.strata if s.startswith(KEPT)]
    dropped = [s for s in sample.strata if s not in kept]
    items = {s: sample.drawn(s) for s in sample.strata}
    rooms = [sum(len(items[s]) for s in half) for half in (kept, dropped)]
    first = min(rooms[0], max(looks - looks // 2, looks - rooms[1]))
    chosen: dict[str, Case] = {}
    for half, share in ((kept, first), (dropped, looks - first)):
        for stratum, count in _evenly({s: len(items[s]) for s in half}, share).items():
            chosen |= {case.key: case for case in items[stratum][:count]}
    return sorted(chosen.values(), key=lambda case: sample.rank(case.key))


def _evenly(rooms: Mapping[str, int], total: int) -> dict[str, int]:
    """A total dealt out one by one, as far as there is room."""
    shares = dict.fromkeys(rooms, 0)
    total = min(total, sum(rooms.values()))
    while total > 0:
        for name in [n for n in rooms if shares[n] < rooms[n]][:total]:
            shares[name] += 1
            total -= 1
    return shares


def to_csv(cases: Sequence[Case], run: str) -> bytes:
    """The table to be filled in: its column `verdict` is empty.

    UTF-8 with the mark that spreadsheets look for; no cell is a formula.
    """
    text = io.StringIO()
    table = csv.writer(text, quoting=csv.QUOTE_ALL)
    table.writerow(_COLUMNS)
    for number, case in enumerate(cases, 1):
        region, said = case.region, case.text
        assert region is not None  # is_visible
        codes = (said or region).codes
        cells = (
            *(said.text if said else "", region.category, region.part, region.level),
            *(said.form if said else "", " ".join(codes), case.picture.file, case.key),
        )
        table.writerow([number, "", "", *map(_harmless, cells), run])
    return text.getvalue().encode("utf-8-sig", errors="backslashreplace")


def _harmless(cell: str) -> str:
    return _FORMULA.sub("'", printable(cell))


@dataclasses.dataclass(frozen=True)
class Row:
    """A judged row."""

    place: str  # "<file>: row 7"
    key: str
    run: str
    verdict: str  # one of VERDICTS, or "" where there is none yet
    stratum: str  # of the case when it was drawn: its first


def read(path: str | Path) -> list[Row]:
    """The rows of an audit.csv, as a spreadsheet saved it.

    Commas, semicolons or tabs may stand between cells and a byte order mark before
    all. Raises DataError naming row and column for a missing column, a verdict that is
    none, an id that is there twice, and what is no table.
    """
    try:
        text = decoded(read_bytes(local(path), limits.SMALL_JSON_BYTES))
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}",
            place=str(path),
            kind=Kind.FILE_MISSING,
        ) from None
    except DataError as error:
        raise error.at(str(path)) from None
    rows: dict[str, Row] = {}
    header: list[str] = []
    table = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    try:
        for number, cells in enumerate(table, 1):
            if not header:
                header = [cell.strip().lower() for cell in cells]
                _require_columns(header, path)
            elif any(cell.strip() for cell in cells):
                row = _row(header, cells, f"{path}: row {number}")
                if (earlier := rows.setdefault(row.key, row)) is not row:
                    raise DataError(
                        f"expected an id of its own, found that of {earlier.place}; "
                        "remove one",
                        place=f"{row.place}, column id",
                        kind=Kind.ID_TWICE,
                    )
    except csv.Error as error:
        raise DataError(
            f"is no CSV: {error}; save it as CSV", place=f"{path}: row {table.line_num}"
        ) from None
    if not rows:
        raise DataError("holds no row; draw an audit anew", place=str(path))
    return [*rows.values()]


def _delimiter(text: str) -> str:
    first = text.lstrip().partition("\n")[0]
    return max(",;\t", key=first.count)


def _require_columns(header: Sequence[str], path: str | Path) -> None:
    for name in _NEEDED:
        if header.count(name) != 1:
            raise DataError(
                f"expected one column {name}, found {header.count(name)} among "
                f"{shorten(', '.join(header))}; give back the audit.csv that "
                "`unires engine report` wrote, saved as CSV",
                place=f"{path}: row 1",
            )


def _row(header: Sequence[str], cells: Sequence[str], place: str) -> Row:
    if len(cells) != len(header):
        raise DataError(
            f"expected {len(header)} cells, found {len(cells)}; save the table as CSV "
            "with quotes around texts",
            place=place,
        )
    values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    verdict = values["verdict"].lower()
    if verdict and verdict not in VERDICTS:
        raise DataError(
            f"expected {', '.join(VERDICTS)} or nothing, found "
            f"{shorten(values['verdict'])!r}; correct it",
            place=f"{place}, column verdict",
        )
    kept = f"{KEPT} {values['form'] or values['level']}"
    stratum = [*values["code"].split(), kept][0]
    return Row(place, values["id"], values["run"], verdict, stratum)


def may_replace(path: Path) -> bool:
    """Whether an audit.csv holds nobody's work: it is not there, or has no verdict."""
    if not path.exists():
        return True
    try:
        return not any(row.verdict for row in read(path))
    except DataError:
        return False


class Places:
    """Where the rows of an audit are in a run, found as its cases go by."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._wanted = {row.key for row in rows}
        self._strata: dict[str, str] = {}

    def add(self, case: Case) -> None:
        """Take the next case."""
        if case.key in self._wanted:
            self._strata[case.key] = "".join(case.strata[:1])

    def precision(self, run: str, populations: Mapping[str, int]) -> dict[str, Any]:
        """What the verdicts say of a run, by form and code.

        `populations` are how many cases each stratum has. Of what was kept the share
        that is right, of what a code dropped the share that is wrong. Rows whose case
        has another code than when it was drawn are left out and counted (`moved`).
        Raises DataError naming the row that is of another run.
        """
        verdicts: dict[str, Counter[str]] = {}
        unsure = moved = judged = 0
        for row in self._rows:
            self._require_own(row, run)
            if not row.verdict:
                continue
            if self._strata[row.key] != row.stratum:
                moved += 1
                continue
            judged += 1
            unsure += row.verdict == UNSURE
            verdicts.setdefault(row.stratum, Counter())[row.verdict] += 1
        sides: dict[str, dict[str, Any]] = {"kept": {}, "dropped": {}}
        for stratum, counts in sorted(verdicts.items()):
            if total := counts[RIGHT] + counts[WRONG]:
                kept = stratum.startswith(KEPT)
                hits = counts[RIGHT if kept else WRONG]
                name = stratum.removeprefix(f"{KEPT} ")
                sides["kept" if kept else "dropped"][name] = {
                    "share": hits / total,
                    "interval": wilson(hits / total, float(total)),
                    "judged": total,
                    "of": populations[stratum],
                }
        return {
            "rows": len(self._rows),
            "judged": judged,
            "unsure": unsure,
            "moved": moved,
            **sides,
            "overall": _overall(sides["kept"]),
        }

    def _require_own(self, row: Row, run: str) -> None:
        if row.run != run:
            raise DataError(
                f"expected {run}, found {shorten(row.run)!r}: it was drawn from "
                "another run; give that one's folder, or draw an audit anew",
                place=f"{row.place}, column run",
            )
        if row.key not in self._strata:
            raise DataError(
                f"{shorten(row.key)!r} is nothing of this run; give back the id as it "
                "was written",
                place=f"{row.place}, column id",
            )


def _overall(forms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The share of all kept texts that are right: forms weighed by their texts.

    The interval is that of so many looks as would vary as much (Kish, 1965).
    """
    rows = {name: row for name, row in forms.items() if name not in LEVELS}
    total = sum(row["of"] for row in rows.values())
    if not total:
        return None
    weights = {name: row["of"] / total for name, row in rows.items()}
    share = sum(weights[name] * row["share"] for name, row in rows.items())
    looks = 1 / sum(weights[n] ** 2 / row["judged"] for n, row in rows.items())
    judged = sum(row["judged"] for row in rows.values())
    interval = wilson(share, looks)
    return {"share": share, "interval": interval, "judged": judged, "of": total}


def wilson(share: float, looks: float) -> tuple[float, float]:
    """The 95 % interval of a share that was seen in so many looks (Wilson, 1927)."""
    square = _Z**2 / looks
    middle = (share + square / 2) / (1 + square)
    spread = math.sqrt(share * (1 - share) / looks + square / 4 / looks)
    reach = _Z / (1 + square) * spread
    low, high = min(share, middle - reach), max(share, middle + reach)  # but rounding
    return max(0.0, low), min(1.0, high)
