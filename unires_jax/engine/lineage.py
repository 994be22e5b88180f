"""Whether the files of a stage were made of those that are there now, by their markers.

What was computed after an earlier stage was done again, with other settings say, would
otherwise be told of pictures that say something else by now. Source: ours.
"""

import hashlib
from pathlib import Path

from unires_jax.engine import shard_files
from unires_jax.engine.markers import INPUT, OUTPUT, StaleError
from unires_jax.engine.stages import STAGES
from unires_jax.files import local
from unires_jax.prepare.shards import DONE, Marker, read_marker

_SUFFIX = ".jsonl.gz"


def last_stage(out: str | Path) -> str:
    """The last stage that has made a shard; "" where none has."""
    for stage in reversed(STAGES):
        if any((local(out) / stage.name).glob(f"shard-*{_SUFFIX}")):
            return stage.name
    return ""


def digest(out: str | Path, stage: str) -> str:
    """What names the content of a stage's shards: 12 hex digits, of their markers.

    Raises DataError as `shard_files.paths`.
    """
    outputs = [_marker(path).get(OUTPUT, "") for path in shard_files.paths(out, stage)]
    return hashlib.sha256("\n".join(outputs).encode()).hexdigest()[:12]


def require_current(out: str | Path, stage: str) -> None:
    """Raise StaleError if a shard of a stage was made of another than is there now.

    Of the stages before it too. One without a marker, or that is gone, tells nothing.
    """
    rows = {row.name: row for row in STAGES}
    names = [path.name for path in shard_files.paths(out, stage)]
    while stage in rows:
        before = rows[stage].reads
        for name in names:
            path = local(out) / stage / name
            source = _marker(local(out) / before / name).get(OUTPUT)
            if source and _marker(path).get(INPUT, source) != source:
                raise StaleError(
                    f"was made of another shard of {before} than is there now; "
                    "`unires engine run` goes on from there, and `unires engine "
                    "status` shows what is stale",
                    place=str(path),
                )
        stage = before


def _marker(path: Path) -> Marker:
    """The marker of a shard; {} without one."""
    return read_marker(path.with_name(path.name.removesuffix(_SUFFIX) + DONE)) or {}
