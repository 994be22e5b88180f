"""Where files are, files that are there whole or not at all, and those others name.

A location is a path of this machine or a name in a bucket (`gs://`, `s3://`), which
etils' epath reads and writes. Of the files that others' data names, a path that leaves
its folder, by `..` or by a symbolic link, is refused.
"""

import contextlib
import errno
import functools
import glob
import hashlib
import importlib.util
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeAlias

from etils import epath

from unires_jax import limits
from unires_jax.errors import ConfigError, DataError, Kind, shorten

MAX_NAME = 255  # bytes, on every usual file system
_PIECE = 1 << 20  # bytes read at once
_POINTER = b"version https://git-lfs"
BUCKETS = ("gs", "s3")  # schemes of locations that are no path of this machine
# Folders of annotations, which lie beside those of pictures.
ANNOTATIONS = ("annotations", "annotation", "anns", "labels")
_HUB = re.compile(r"(?:datasets|models)--.+")  # some have no owner
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # not a drive's one letter

Location: TypeAlias = Path | epath.Path  # what `locate` gives


def locate(place: str | os.PathLike[str]) -> Location:
    """A file or folder that a user names, here or in a bucket.

    A `~` is the user's home, as shells have it. Raises ConfigError for a scheme that
    is neither `gs://` nor `s3://`, and for a bucket that nothing installed can reach.
    """
    text = os.fspath(place)
    scheme = _SCHEME.match(text)
    if scheme is None:
        path = Path(text)
        home = text.startswith("~") and not os.path.exists(path.parts[0])
        return Path(os.path.expanduser(text)) if home else path
    if scheme[1] not in BUCKETS or not re.match(r"\w+://[^/]", text):
        kinds = ", ".join(f"{name}://<bucket>/<folder>" for name in BUCKETS)
        raise ConfigError(f"{text}: expected a path of this machine, or {kinds}")
    _require_library(scheme[1])
    return epath.Path(text)


@functools.cache
def _require_library(scheme: str) -> None:
    import fsspec

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


def matching(pattern: str | os.PathLike[str]) -> list[Path]:
    """The files of a pattern such as `photos/**/*.jpg`, sorted.

    A path that is there is itself, whatever characters it has: in `runs[1]/*.jpg` only
    the second part is a pattern.
    """
    path = local(pattern)
    fixed = next((p for p in (path, *path.parents) if os.path.exists(p)), Path())
    rest = path.relative_to(fixed)
    whole = os.path.join(glob.escape(str(fixed)), rest)
    names = glob.glob(whole, recursive=True) if rest.parts else [fixed]
    return sorted(name for name in map(Path, names) if name.is_file())


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


def is_text(name: str) -> bool:
    """Whether a name is valid Unicode; one of other bytes holds lone surrogates."""
    try:
        name.encode()
    except UnicodeError:
        return False
    return True


def require_text(place: str | os.PathLike[str]) -> None:
    """Raise DataError for a name that is no UTF-8, which ArrayRecord does not take."""
    if not is_text(os.fspath(place)):
        raise DataError(
            "the bytes of its name are no UTF-8; rename it, or name another folder",
            place=os.fspath(place),
        )


def user_cache() -> Path | None:
    """Where this user's caches are; None for one without a home (in containers)."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    with contextlib.suppress(RuntimeError):
        return Path.home() / ".cache"
    return None


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file (text as UTF-8) under a temporary name, then rename it.

    Whoever reads sees the file before or the file after; a writer that is killed or
    fails leaves the one before. So do buckets with every object. Raises OSError where
    the folder cannot be written.
    """
    location = locate(path)
    if not isinstance(location, Path):
        location.write_bytes(_encoded(content))
        return
    with whole(location) as temporary:
        temporary.write_bytes(_encoded(content))


def write_together(
    folder: str | os.PathLike[str], contents: Mapping[str, str | bytes]
) -> None:
    """Write the files of a folder that belong together, as `write_whole` does each.

    They get their names when all are written: where the disk is full, none does.
    """
    location = locate(folder)
    location.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as named:
        for name, content in contents.items():
            if isinstance(location, Path):
                temporary = named.enter_context(whole(location / name))
                temporary.write_bytes(_encoded(content))
            else:
                write_whole(location / name, content)


def _encoded(content: str | bytes) -> bytes:
    """A surrogate stands for a byte of a file name that is no text."""
    if isinstance(content, bytes):
        return content
    return content.encode(errors="backslashreplace")


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
            with naming(self._path), self._path.open("a", encoding="utf-8") as file:
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
    end = f".{os.getpid()}.tmp"
    name = path.name
    if len(os.fsencode(name + end)) > MAX_NAME >= len(os.fsencode(name)):
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    temporary = path.with_name(name + end)
    try:
        with naming(path):
            yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give an OSError the file's name: a write that fails does not tell it."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        raise


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


def read_content(path: Path, limit: int = limits.PICTURE_BYTES) -> bytes:
    """`read_bytes` of a file that is found in a data set.

    Raises DataError naming the file for whatever cannot be read, and for the pointer
    of git-lfs.
    """
    try:
        data = read_bytes(path, limit)
        require_content(data)
        return data
    except DataError as error:
        raise error.at(str(path)) from None
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}", place=str(path)
        ) from None


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


def require_content(head: bytes) -> None:
    """Raise DataError if a file begins as the pointers of git-lfs do."""
    if head.startswith(_POINTER):
        raise DataError(
            "is a pointer of git-lfs and not the file; run git lfs pull where it was "
            "cloned, or fetch the file itself",
            kind=Kind.FILE_MISSING,
        )


def read_inside(
    folder: Path,
    relative: str,
    limit: int = limits.PICTURE_BYTES,
    *,
    follow_links: bool | None = None,
) -> bytes:
    """The bytes of a file below `folder`. Raises DataError where there are none.

    `follow_links` as `require_inside`.
    """
    path = find_inside(folder, relative, follow_links=follow_links)
    size, named = path.stat().st_size, repr(shorten(relative))
    if size > limit:
        raise DataError(
            f"expected a file of at most {limit} bytes, found {size} in {named}; "
            "store the picture smaller"
        )
    try:
        data = read_bytes(path, limit)
        require_content(data)
        return data
    except DataError as error:
        raise error.at(named) from None
    except OSError as error:
        raise DataError(
            f"expected a readable file, found {error.strerror} at {named}; "
            "check its permissions"
        ) from None


def find_inside(
    folder: Path, relative: str, *, follow_links: bool | None = None
) -> Path:
    """The regular file `relative` names below `folder`. Raises DataError otherwise.

    From a folder of annotations, `../` leads to what lies beside it. A link may lead
    out of the folder where `follow_links` permits it; those of a Hugging Face cache
    lead to its blobs.
    """
    root, named = _resolved(folder), repr(shorten(relative))
    if len(relative) > limits.PATH:
        raise DataError(
            f"expected a file at a name of at most {limits.PATH} characters, found "
            f"{named}; add the file or drop the line",
            kind=Kind.IMAGE_ABSENT,
        )
    if relative.startswith("../") and root.name.lower() in ANNOTATIONS:
        root, relative = root.parent, relative.removeprefix("../")
    if "\\" in relative or not stays_inside(relative):
        raise DataError(
            f"expected a path below the file's own folder, found {named}; put the "
            "pictures beside the file (or the file into a folder called annotations, "
            "beside theirs) and name them with forward slashes"
        )
    parts = PurePosixPath(relative)
    try:
        path = (root / parts).resolve()
        exists = path.is_file()
    except (OSError, RuntimeError, ValueError):  # too long a name, a loop of links
        exists, path = False, root
    require_inside(root, path, relative, follow_links)
    if not exists:
        raise DataError(
            f"expected a file at {named}, found none{_same_name(root, parts)}; "
            "add the file or drop the line",
            kind=Kind.IMAGE_ABSENT,
        )
    return path


def require_inside(
    folder: Path, path: Path, relative: str, follow_links: bool | None = None
) -> None:
    """Raise DataError where a resolved path, named `relative`, has left its folder.

    Whoever packs a folder may have put a link to anything of yours into it. With
    `follow_links` it may; False is of a command that has this option, None of one that
    has not, so that the message names what helps.
    """
    root = _resolved(folder)
    if follow_links or path.is_relative_to(root) or path.parent == _blobs(root):
        return
    option = ", or allow links that you made yourself with --follow_links"
    raise DataError(
        f"expected a file below {root}, found {shorten(relative)!r}, a link out of it; "
        "copy the file there (cp -rL copies a folder with what its links name)"
        + ("" if follow_links is None else option)
    )


def stays_inside(relative: str) -> bool:
    """Whether a name with forward slashes cannot lead out of the folder it is for.

    Nor may it be longer than a path can be: to resolve its steps takes quadratic time.
    """
    if len(relative) > limits.PATH:
        return False
    parts = PurePosixPath(relative)
    hostile = ".." in parts.parts or parts.is_absolute() or "\0" in relative
    return not hostile and not PureWindowsPath(relative).drive


def _blobs(root: Path) -> Path | None:
    """Where the links of a folder lead that is a snapshot in a Hugging Face cache."""
    for place in (root, *root.parents):
        data_set = place.parent.parent
        if place.parent.name == "snapshots" and _HUB.fullmatch(data_set.name):
            return data_set / "blobs"
    return None


@functools.lru_cache(maxsize=64)
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def _same_name(root: Path, parts: PurePosixPath) -> str:
    """A hint at a file whose name differs in case, Unicode form or suffix."""
    parent = root / parts.parent
    try:
        names = [p.name for p in parent.iterdir()] if parent.is_dir() else []
    except OSError:
        return ""
    asked = _folded(parts.name)
    if close := [n for n in names if _folded(n) == asked]:
        cased = close[0].lower() == parts.name.lower()
        what = "upper and lower case" if cased else "the forms of its Unicode"
        return f" (there is {close[0]!r}: {what} differ)"
    stem = asked.rpartition(".")[0]
    close = [n for n in names if stem and _folded(n).rpartition(".")[0] == stem]
    return f" (there is {close[0]!r})" if close else ""


def _folded(name: str) -> str:
    """A name without what file systems change: case, and Unicode's normal form."""
    return unicodedata.normalize("NFC", name).casefold()
