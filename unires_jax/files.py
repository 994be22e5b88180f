"""Where files are, files that are there whole or not at all, and those others name.

A location is a path of this machine or a name in a bucket (`gs://`, `s3://`), which
etils' epath reads and writes. Of the files that others' data names, a path that leaves
its folder, by `..` or by a symbolic link, is refused.
"""

import contextlib
import errno
import functools
import importlib.util
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeAlias

import fsspec
from etils import epath

from unires_jax import limits
from unires_jax.errors import ConfigError, DataError, Kind, shorten

_PIECE = 1 << 20  # bytes read at once
BUCKETS = ("gs", "s3")  # schemes of locations that are no path of this machine
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # not a drive's one letter

Location: TypeAlias = Path | epath.Path  # what `locate` gives


def locate(place: str | os.PathLike[str]) -> Location:
    """A file or folder that a user names, here or in a bucket.

    Raises ConfigError for a scheme that is neither `gs://` nor `s3://`, and for a
    bucket that nothing installed can reach.
    """
    text = os.fspath(place)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Path(text)
    if scheme[1] not in BUCKETS or not re.match(r"\w+://[^/]", text):
        kinds = ", ".join(f"{name}://<bucket>/<folder>" for name in BUCKETS)
        raise ConfigError(f"{text}: expected a path of this machine, or {kinds}")
    _require_library(scheme[1])
    return epath.Path(text)


@functools.cache
def _require_library(scheme: str) -> None:
    # Other hosts write there, and tensorstore does: what was listed once is not true.
    settings = fsspec.config.conf.setdefault(scheme, {})
    settings.setdefault("use_listings_cache", False)
    if importlib.util.find_spec("tensorflow"):  # epath then reads through it
        return
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise ConfigError(
            f"{scheme}:// needs pip install 'unires_jax[bucket]' ({error})"
        ) from None


def in_bucket(place: str | os.PathLike[str]) -> bool:
    """Whether a location is in a bucket."""
    return not isinstance(locate(place), Path)


def local(place: str | os.PathLike[str]) -> Path:
    """The path of what must be on this machine. Raises ConfigError for a bucket."""
    path = locate(place)
    if isinstance(path, Path):
        return path
    raise ConfigError(
        f"{path}: expected a path of this machine, found a bucket; copy it (gcloud "
        "storage cp -r, aws s3 cp --recursive), or mount the bucket"
    )


def absolute(place: str | os.PathLike[str]) -> Location:
    """The location, as it is named from everywhere."""
    path = locate(place)
    return path.resolve() if isinstance(path, Path) else path


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file (text as UTF-8) under a temporary name, then rename it.

    Whoever reads sees the file before or the file after; a writer that is killed or
    fails leaves the one before. So do buckets with every object. Raises OSError where
    the folder cannot be written.
    """
    if isinstance(content, str):
        # A surrogate stands for a byte of a file name that is no text.
        content = content.encode(errors="backslashreplace")
    location = locate(path)
    if not isinstance(location, Path):
        location.write_bytes(content)
        return
    with whole(location) as temporary:
        temporary.write_bytes(content)


class LineWriter:
    """Adds lines to a text file; a line is in place when `write` returns.

    An object of a bucket cannot be appended to: it is written anew with every line.
    The lines of a run fit: a million bytes after 100,000 steps.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Nothing is made before the first line; a last one that was cut is dropped."""
        self._path = locate(path)
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        self._lines = text.splitlines(keepends=True)
        if self._lines and not self._lines[-1].endswith("\n"):  # its writer was killed
            del self._lines[-1]
            write_whole(self._path, "".join(self._lines))

    def write(self, line: str) -> None:
        """Add a line, given without its end. Raises OSError where it cannot."""
        if isinstance(self._path, Path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
            return
        self._lines.append(f"{line}\n")
        write_whole(self._path, "".join(self._lines))


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary file to write, which gets the name `path` unless writing fails.

    Raises ConfigError for a bucket.
    """
    path = local(path)
    # The process is part of the name: two writers of one file do not mix.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_bytes(place: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a regular file that others wrote, at most `limit` of them.

    A pipe would be waited for, and a device may have no end: both are refused, also
    where a link leads to them. Raises DataError for these and for more bytes, OSError
    where there is nothing to read.
    """
    path = place if isinstance(place, Path) else locate(place)
    if not isinstance(path, Path):
        _require_size(path.stat().length, limit)
        return path.read_bytes()
    with open(path, "rb", opener=_without_waiting) as file:
        size = os.fstat(file.fileno()).st_size
        _require_size(size, limit)
        pieces = [file.read(size + 1)]
        while pieces[-1] and sum(map(len, pieces)) <= limit:  # of /proc, or growing
            pieces.append(file.read(_PIECE))
    pieces = [piece for piece in pieces if piece]
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    _require_size(len(data), limit)
    return data


def read_text(place: str | os.PathLike[str], limit: int) -> str:
    """`read_bytes` as UTF-8. Raises UnicodeDecodeError too."""
    return read_bytes(place, limit).decode()


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file; a pipe that nobody writes to is not waited for."""
    handle = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise _no_regular_file()


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raise DataError for what is there and is neither a regular file nor a folder.

    For a library that opens a file by its name.
    """
    with contextlib.suppress(OSError):
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise _no_regular_file().at(os.fspath(path))


def _no_regular_file() -> DataError:
    return DataError(
        "expected a regular file, found a pipe, device or socket; copy its content "
        "into a file"
    )


def _require_size(size: int, limit: int) -> None:
    if size > limit:
        raise DataError(
            f"expected a file of at most {limit} bytes, found {size}; nothing was read"
        )


def read_inside(
    folder: Path, relative: str, limit: int = limits.PICTURE_BYTES
) -> bytes:
    """The bytes of a file below `folder`. Raises DataError where there are none."""
    path = find_inside(folder, relative)
    size, named = path.stat().st_size, repr(shorten(relative))
    if size > limit:
        raise DataError(
            f"expected a file of at most {limit} bytes, found {size} in {named}; "
            "store the picture smaller"
        )
    try:
        return read_bytes(path, limit)
    except OSError as error:
        raise DataError(
            f"expected a readable file, found {error.strerror} at {named}; "
            "check its permissions"
        ) from None


def find_inside(folder: Path, relative: str) -> Path:
    """The regular file `relative` names below `folder`. Raises DataError otherwise."""
    root, named = _resolved(folder), repr(shorten(relative))
    if len(relative) > limits.PATH:
        raise DataError(
            f"expected a file at a name of at most {limits.PATH} characters, found "
            f"{named}; add the file or drop the line",
            kind=Kind.IMAGE_ABSENT,
        )
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
    """Whether a name with forward slashes cannot lead out of the folder it is for.

    Nor may it be longer than a path can be: to resolve its steps takes quadratic time.
    """
    if len(relative) > limits.PATH:
        return False
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
