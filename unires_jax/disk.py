"""What a disk or bucket refuses, in words: it is full, read-only, out of reach.

Many libraries write files for us, with errors of their own. Common to them is the
system's word for what happened, in an error's number or in its text.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from unires_jax.errors import UserError, shorten

# Wherever in a chain of errors they stand, they are why it failed.
FULL = {
    errno.ENOSPC: "make room there, or write to another disk",
    errno.EDQUOT: "make room in your quota, or write to another disk",
    errno.EFBIG: "raise the limit (ulimit -f), or write to another disk",
    errno.EROFS: "name a folder that can be written",
}
# Those of the last error alone: others are met and answered on the way.
REFUSED = FULL | {
    errno.EACCES: "see its permissions and those of its folders, or name another",
    errno.EPERM: "see its permissions and those of its folders, or name another",
    errno.ENAMETOOLONG: "name a shorter one",
    errno.ENOTDIR: "a file stands where a folder is expected; name another",
    errno.EISDIR: "a folder stands where a file is expected; name another",
    errno.EEXIST: "something else stands there; move it away, or name another",
    errno.ENOTEMPTY: "something else stands there; move it away, or name another",
    errno.ENOENT: "see that its folder is there, and that nothing removes it meanwhile",
    errno.ELOOP: "its links lead in a circle; mend them, or name another",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk or the network is failing; write to another",
    errno.ESTALE: "the network's file system lost it; mount it again",
    errno.EBUSY: "another program holds it; end that, or name another",
}
_WORDS = {number: os.strerror(number) for number in FULL}
# Libraries that reach buckets, and their words for a key that is missing.
_BUCKETS = re.compile(
    r"(aiobotocore|aiohttp|botocore|gcsfs|s3fs|google\.(api_core|auth|cloud|resumable))"
)
_NO_KEY = re.compile(r"Credential|Refresh|Token")
_PATH = re.compile(r"""["'](/[^"'\n]+)["']|writing ([^;\n]+);""")
_NUMPY = re.compile(r"\d+ requested and \d+ written")  # a short write, without a number


class StorageError(UserError):
    """What cannot be written or read. The message names it and the remedy."""


class DiskFullError(StorageError):
    """There is no room for a file, or none that this user may have."""


def explain(error: BaseException) -> StorageError | None:
    """What was refused, if that is why this was raised; None if it was not."""
    for fault in _chain(error):
        number = _number(fault, FULL if fault is not error else REFUSED)
        if number is not None:
            return _in_words(fault, number)
        # An error of ours has said it already, whatever it met on the way.
        ours = isinstance(error, UserError)
        if not ours and _BUCKETS.match(type(fault).__module__):
            return _of_bucket(fault)
    return None


def _of_bucket(fault: BaseException) -> StorageError:
    name = type(fault).__name__
    cause = f"({name}: {shorten(str(fault))})"
    if _NO_KEY.search(name):
        return StorageError(
            f"no credentials for the bucket {cause}; for s3:// `aws configure`, or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for gs:// `gcloud auth "
            "application-default login`, or GOOGLE_APPLICATION_CREDENTIALS"
        )
    return StorageError(
        f"the bucket cannot be reached {cause}; see its name, your rights to it and "
        "the network"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those behind it, nearest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException, known: dict[int, str]) -> int | None:
    if isinstance(error, OSError) and error.errno in known:
        return error.errno
    text = str(error)
    if isinstance(error, OSError) and _NUMPY.search(text):
        return errno.ENOSPC
    return next((n for n, words in _WORDS.items() if words in text), None)


def _in_words(error: BaseException, number: int) -> StorageError:
    cause = os.strerror(number)
    if isinstance(error, OSError):
        cause = error.strerror or cause
        place = _text(error.filename2 or error.filename)
    else:  # a library's, which names the file in its own words
        named = _PATH.search(str(error))
        place = (named[1] or named[2]) if named else ""
        cause += "" if named else f" ({type(error).__name__}: {shorten(str(error))})"
    if number == errno.ENOSPC and place:
        cause += f" ({size(free(place))} are free)"
    full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    kind = DiskFullError if full else StorageError
    return kind(f"{cause}; {REFUSED[number]}", place=place)


def _text(name: object) -> str:
    if isinstance(name, bytes):
        return os.fsdecode(name)
    return "" if name is None else str(name)


def free(place: str | os.PathLike[str]) -> int:
    """Bytes that are free where a file or folder is, or is to be."""
    path = Path(place).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def require_room(place: str | os.PathLike[str], needed: int, remedy: str) -> None:
    """Raise StorageError unless there is room for so many bytes."""
    there = free(place)
    if needed > there:
        raise DiskFullError(
            f"{size(needed)} are needed and {size(there)} are free; {remedy}",
            place=os.fspath(place),
        )


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Raise StorageError unless files can be made in a folder, before hours of work."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        path = os.fspath(folder)
        raise (
            explain(OSError(error.errno, error.strerror, path))
            or StorageError(f"cannot be written ({error})", place=path)
        ) from None


def size(count: int | float) -> str:
    """Bytes as people read them: `1.3 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
