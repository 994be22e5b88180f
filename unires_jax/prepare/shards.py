"""A ledger of units of work that many processes share and that survives its own death.

Every unit of work becomes one shard: some files, a list of what was refused, a marker.
Files are written under temporary names, renamed, and only then marked as done, so that
work that dies goes on with what is not marked. A shard depends on its unit alone, not
on workers or restarts.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from unires_jax.errors import DataError
from unires_jax.files import naming
from unires_jax.prepare.rejects import REJECTED

PROGRESS = "progress"  # folder of shards and markers while the work goes on
LOCK = "lock"
DONE, REJECTS = ".done", ".rejects"  # suffixes of a shard's marker and refused entries
NAMED = 5  # refused entries that an error names

Tick = Callable[[int, int], None]  # entries written and refused since the last call
Marker = dict[str, Any]  # JSON: the work's identity and its figures


class Refusal(NamedTuple):
    """An entry that cannot be used."""

    record: str  # which one
    error: DataError


@runtime_checkable
class Work(Protocol):
    """A unit of work: picklable, and the same files from the same unit everywhere."""

    noun: ClassVar[str]  # what its entries are called: "lines"
    # Of the files it makes, in the order in which they get their names.
    suffixes: ClassVar[tuple[str, ...]]

    @property
    def name(self) -> str:
        """How messages call it: its file."""

    @property
    def entries(self) -> int:
        """How many entries it announces."""

    @property
    def identity(self) -> Marker:
        """What a finished shard must have been made of, as JSON of named fields."""

    def write(
        self, paths: Mapping[str, Path], figures: Marker
    ) -> Generator[Refusal | None, None, None]:
        """Write a file for each suffix; None or a refusal for each entry as it goes.

        `figures` takes what the marker shall say of the shard.
        """


def read_marker(path: Path) -> Marker | None:
    """What a marker holds; None where there is none, or half of one."""
    try:
        marker = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


@dataclasses.dataclass(frozen=True)
class Shard:
    """A unit of work, and where its files go."""

    work: Work
    folder: str
    index: int
    stem: str  # of its files' names

    def path(self, suffix: str) -> Path:
        """One of its files."""
        return Path(self.folder) / f"{self.stem}{suffix}"

    def stored(self) -> Marker | None:
        """What its marker holds, whatever it was made of; None without one."""
        return read_marker(self.path(DONE))

    def marker(self) -> Marker | None:
        """What its finished form holds; None unless it was made of this very work."""
        marker = self.stored()
        if marker is None:
            return None
        identity = self.work.identity
        return marker if all(marker.get(k) == v for k, v in identity.items()) else None

    def finished(self) -> Marker:
        """What its finished form holds. Raises DataError unless it is done."""
        marker = self.marker()
        if marker is None:
            raise DataError(
                f"shard {self.index} of {self.work.name} is not done; did the file "
                "change meanwhile? Run the same command again"
            )
        return marker

    def refused(self) -> list[dict[str, str]]:
        """What was refused so far: `{"record", "reason"}` each."""
        path = self.path(REJECTS)
        lines = path.read_text().splitlines() if path.exists() else []
        return list(map(json.loads, lines))


def write(shard: Shard, allowed: int, tick: Tick = lambda *_: None) -> Marker:
    """Do a shard's work and mark it as done; what its marker says.

    Entries that cannot be used go to the shard's own list. Raises DataError when they
    are more than `allowed`.
    """
    work = shard.work
    marker: Marker = {**work.identity, "rejected": 0}
    end = f"tmp-{socket.gethostname()}-{os.getpid()}"
    temporary = {
        suffix: shard.path(f"{suffix}.{end}") for suffix in (*work.suffixes, DONE)
    }
    rejects = shard.path(REJECTS)
    rejects.unlink(missing_ok=True)
    try:
        with contextlib.closing(work.write(temporary, marker)) as entries:
            for refusal in entries:
                if refusal is None:
                    tick(1, 0)
                    continue
                line = {"record": refusal.record, "reason": str(refusal.error)}
                with naming(rejects), rejects.open("a") as file:
                    print(json.dumps(line), file=file)
                marker["rejected"] += 1
                if marker["rejected"] > allowed:
                    raise DataError(f"more than {allowed} {work.noun} are unusable")
                tick(0, 1)
        with naming(temporary[DONE]):
            temporary[DONE].write_text(json.dumps(marker))
        shard.path(DONE).unlink(missing_ok=True)  # of what is replaced now
        for suffix, path in temporary.items():
            _publish(path, shard.path(suffix))
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return marker


def _publish(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as file:
        os.fsync(file.fileno())  # the name must not outlive the content
    os.replace(temporary, path)


def plain_stem(index: int, count: int) -> str:
    """How shards are named that get another name in the end."""
    return f"{index:05}"


@contextlib.contextmanager
def hold(folder: Path, work: str, indices: range | None = None) -> Iterator[None]:
    """Hold a folder of shards, made if need be, or a job's part of it.

    Raises DataError, calling it another `work`, if the whole or the same part is held
    already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {LOCK: fcntl.LOCK_EX}
    if indices is not None:  # beside other parts, not beside the whole
        kinds = {LOCK: fcntl.LOCK_SH}
        kinds[f"{LOCK}-{indices.start}-{indices.stop}"] = fcntl.LOCK_EX
    with contextlib.ExitStack() as held:
        for name, kind in kinds.items():
            file = held.enter_context((folder / name).open("w"))
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except OSError:
                raise DataError(
                    f"{folder} is being written by another {work}; wait for its end"
                ) from None
        yield


class Ledger:
    """All shards of a folder, which of them a job is to do, and what may be refused."""

    def __init__(
        self,
        folder: Path,
        work: Sequence[Work],
        bad_share: float,
        indices: range | None = None,
        *,
        progress: str = PROGRESS,
        stem: Callable[[int, int], str] = plain_stem,
    ) -> None:
        """`indices`: those of this job, while others do the rest; None: all.

        Of all entries, `bad_share` may be refused. Shards lie in the folder `progress`
        below `folder`, and `stem` names number i of n.
        """
        self.folder, self.place = folder, folder / progress
        self.shards = [
            Shard(unit, str(self.place), i, stem(i, len(work)))
            for i, unit in enumerate(work)
        ]
        self.indices, self.mine = indices, self.shards
        if indices is not None:
            self.mine = [self.shards[i] for i in indices]
        self.entries = sum(shard.work.entries for shard in self.mine)
        self.allowed = int(bad_share * sum(unit.entries for unit in work))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the job's shards. Raises DataError if the same job runs already."""
        with hold(self.place, "conversion", self.indices):
            yield

    def unfinished(self, spared: Collection[Shard] = ()) -> list[Shard]:
        """The job's shards still to be written; removes what is of no finished one.

        What other jobs are writing stays, and the files of `spared`.
        """
        todo = [shard for shard in self.mine if shard.marker() is None]
        kept = {*self.mine} - {*todo} | {*spared}
        keep = {s.path(x) for s in kept for x in (*s.work.suffixes, REJECTS, DONE)}
        others = {s.stem for s in {*self.shards} - {*self.mine}}
        suffixes = {x for s in self.shards for x in s.work.suffixes} | {REJECTS, DONE}
        for path in self.place.iterdir():
            stem, dot, rest = path.name.partition(".")
            of_shard = f"{dot}{rest}".startswith(tuple(suffixes))
            if of_shard and stem not in others and path not in keep:
                path.unlink(missing_ok=True)
        return todo

    def progress(self) -> tuple[int, float]:
        """Bytes of the finished shards' files, and their share of all entries."""
        done = [shard for shard in self.mine if shard.marker() is not None]
        paths = [s.path(suffix) for s in done for suffix in s.work.suffixes]
        size = sum(path.stat().st_size for path in paths if path.exists())
        return size, sum(s.work.entries for s in done) / max(self.entries, 1)

    def refused(self) -> list[dict[str, str]]:
        """What was refused so far in all shards: `{"record", "reason"}` each."""
        return [entry for shard in self.shards for entry in shard.refused()]

    def check(self) -> None:
        """Raise DataError naming what was refused if it is too much.

        All of it is in rejected.jsonl then, and its shards will be written again.
        """
        refused = self.refused()
        if len(refused) <= self.allowed:
            return
        path = self.list_refused(refused)
        for shard in self.shards:
            if shard.refused():
                shard.path(DONE).unlink(missing_ok=True)
        first = "\n  ".join(entry["reason"] for entry in refused[:NAMED])
        raise DataError(
            f"{len(refused)} of {self.entries} {self.shards[0].work.noun} are "
            f"unusable, and --max_bad_share allows {self.allowed}; all found so far "
            f"are in {path}, the first:\n  {first}\n"
            "Mend them and run the same command again: finished shards are kept"
        )

    def list_refused(self, refused: Sequence[dict[str, str]]) -> Path:
        """Write rejected.jsonl, if anything was refused; its path."""
        path = self.folder / REJECTED
        path.unlink(missing_ok=True)
        if refused:
            path.write_text("".join(json.dumps(entry) + "\n" for entry in refused))
        return path
