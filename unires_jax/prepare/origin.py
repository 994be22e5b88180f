"""What a data set was built from, so that a later build knows whether it has changed.

Told apart are the names and sizes of all files below a source, and what those hold
that are no pictures: all of it up to three `SAMPLE`s, else beginning, middle and end.
Hidden files are passed over, and what is built below a source.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unires_jax import disk
from unires_jax.data.prepared import INFO_FILE, is_unfinished
from unires_jax.prepare.rejects import REJECTED

SOURCES = ("raw", "images", "objects")  # options that name files or folders
SAMPLE = 1 << 20  # bytes; ours
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"}

Origin = dict[str, dict[str, Any]]  # by option: files, bytes, digest


def describe(options: Mapping[str, Any], besides: Path) -> Origin:
    """The state of every source among a builder's options that is there.

    What lies below `besides`, the folder of built data, belongs to none; where that is
    a source itself, what was built there does not.
    """
    named = {name: str(options.get(name) or "") for name in SOURCES}
    states = {
        name: _state(source, besides.resolve())
        for name, source in named.items()
        if source
    }
    return {name: state for name, state in states.items() if state["files"]}


def changes(built: Origin, now: Origin) -> str:
    """How sources that are still there have changed; "" if they have not."""
    return "; ".join(
        f"--{name} held {_count(built[name])}, now {_count(state)}"
        + (" of other content" if _count(built[name]) == _count(state) else "")
        for name, state in now.items()
        if name in built and built[name] != state
    )


def _count(state: Mapping[str, Any]) -> str:
    return f"{state['files']} files of {disk.size(state['bytes'])}"


def _state(source: str, besides: Path) -> dict[str, Any]:
    digest, files, total = hashlib.sha256(), 0, 0
    for name, path in sorted(_files(Path(source), besides)):
        try:
            size = path.stat().st_size
            content = b"" if path.suffix.lower() in PICTURES else _sampled(path, size)
        except OSError:  # the build will say so, if it reads the file
            size, content = 0, b""
        files, total = files + 1, total + size
        digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
        digest.update(hashlib.sha256(content).digest())
    return {"files": files, "bytes": total, "digest": digest.hexdigest()[:16]}


def _files(source: Path, besides: Path) -> Iterator[tuple[str, Path]]:
    """Regular files by their names below a folder, or those of a pattern."""
    if source.is_dir():
        for folder, below, names in os.walk(source):
            built = INFO_FILE in names or is_unfinished(Path(folder).name)
            if built and Path(folder) != source:
                below[:] = []
                continue
            below[:] = [x for x in below if x[0] != "." and not _is(folder, x, besides)]
            names = [name for name in names if name != REJECTED]
            paths = (Path(folder, name) for name in names if name[0] != ".")
            yield from ((str(p.relative_to(source)), p) for p in paths if p.is_file())
        return
    base = Path(source.anchor or ".")
    relative = str(source.relative_to(base) if source.anchor else source)
    yield from ((str(p), p) for p in base.glob(relative) if p.is_file())


def _is(folder: str, name: str, place: Path) -> bool:
    return name == place.name and Path(folder, name).resolve() == place


def _sampled(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        if size <= 3 * SAMPLE:
            return file.read()
        pieces = []
        for start in (0, size // 2, size - SAMPLE):
            file.seek(start)
            pieces.append(file.read(SAMPLE))
        return b"".join(pieces)
