"""Files that are there whole or not at all, and files that others' data names.

A path that leaves its folder, by `..` or by a symbolic link, is refused.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from unires_jax.errors import DataError, Kind, shorten

MAX_BYTES = 64 << 20  # of one picture or mask file; ours


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file (text as UTF-8) under a temporary name, then rename it.

    Whoever reads sees the file before or the file after; a writer that is killed or
    fails leaves the one before. Raises OSError where the folder cannot be written.
    """
    if isinstance(content, str):
        # A surrogate stands for a byte of a file name that is no text.
        content = content.encode(errors="backslashreplace")
    with whole(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary file to write, which gets the name `path` unless writing fails."""
    path = Path(path)
    # The process is part of the name: two writers of one file do not mix.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_inside(folder: Path, relative: str, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a file below `folder`. Raises DataError where there are none."""
    path = find_inside(folder, relative)
    size, named = path.stat().st_size, repr(shorten(relative))
    if size > limit:
        raise DataError(
            f"expected a file of at most {limit} bytes, found {size} in {named}; "
            "store the picture smaller"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"expected a readable file, found {error.strerror} at {named}; "
            "check its permissions"
        ) from None


def find_inside(folder: Path, relative: str) -> Path:
    """The regular file `relative` names below `folder`. Raises DataError otherwise."""
    root, named = _resolved(folder), repr(shorten(relative))
    if "\\" in relative or not stays_inside(relative):
        raise DataError(
            f"expected a path below the file's own folder, found {named}; put the "
            "pictures beside the file and name them with forward slashes"
        )
    parts = PurePosixPath(relative)
    try:
        path = (root / parts).resolve()
        exists = path.is_file()
    except (OSError, RuntimeError, ValueError):  # too long a name, a loop of links
        exists, path = False, root
    if not path.is_relative_to(root):
        raise DataError(
            f"expected a file below {folder}, found {named}, a link out of it; "
            "copy the file there"
        )
    if not exists:
        raise DataError(
            f"expected a file at {named}, found none{_same_name(root, parts)}; "
            "add the file or drop the line",
            kind=Kind.IMAGE_ABSENT,
        )
    return path


def stays_inside(relative: str) -> bool:
    """Whether a name with forward slashes cannot lead out of the folder it is for."""
    parts = PurePosixPath(relative)
    hostile = ".." in parts.parts or parts.is_absolute() or "\0" in relative
    return not hostile and not PureWindowsPath(relative).drive


@functools.lru_cache(maxsize=64)
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def _same_name(root: Path, parts: PurePosixPath) -> str:
    """A hint at a file whose name differs only in case."""
    parent = root / parts.parent
    try:
        names = [p.name for p in parent.iterdir()] if parent.is_dir() else []
    except OSError:
        return ""
    close = [n for n in names if n.lower() == parts.name.lower()]
    return f" (there is {close[0]!r}: upper and lower case differ)" if close else ""
