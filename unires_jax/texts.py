"""Text files as people have them: packed or not, in any encoding of Unicode.

Editors on Windows begin a file with a byte order mark or write UTF-16, and browsers
unpack what they fetch or do not. A file's first bytes say what it is, not its name.
"""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unires_jax import limits
from unires_jax.errors import DataError, Kind
from unires_jax.files import require_content, require_regular

_FREE = 1 << 24  # bytes that any archive may hold
GZIP = b"\x1f\x8b"
_HEAD = 64  # bytes that tell what a file is
_CHUNK = 1 << 16


def unpacked(data: bytes, limit: int = limits.JSON_BYTES) -> bytes:
    """The bytes, without gzip where they have it.

    Raises DataError for a damaged archive, for one of more than `limit` bytes or of
    more than limits.GZIP_RATIO times its own, and for the pointer that git-lfs leaves
    in place of a file.
    """
    require_content(data)
    if not data.startswith(GZIP):
        return data
    limit = min(limit, max(_FREE, limits.GZIP_RATIO * len(data)))
    try:
        with gzip.open(io.BytesIO(data)) as file:
            plain = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"damaged: {error}; fetch or pack the file again") from None
    if len(plain) > limit:
        raise DataError(f"unpacks to more than {limit} bytes, refused")
    return plain


def decoded(data: bytes) -> str:
    """The text of bytes in UTF-8, UTF-16 or UTF-32, without its byte order mark.

    Raises DataError if they are none of these, or as `unpacked`.
    """
    plain = unpacked(data)
    encoding = json.detect_encoding(plain)
    try:
        return plain.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"is no {encoding}: {error.reason} at byte {error.start}; save it as UTF-8",
            kind=Kind.ENCODING,
        ) from None


def is_plain(path: Path) -> bool:
    """Whether the lines of a file can be read from any of its bytes on.

    Raises as `open_lines`.
    """
    head = _head(path)
    return not head.startswith(GZIP) and json.detect_encoding(head[:4]).startswith(
        "utf-8"
    )


def open_foreign_lines(path: Path) -> io.BufferedIOBase:
    """`open_lines` of a file that others packed.

    Reading it raises DataError beyond limits.GZIP_RATIO times the file's size.
    """
    most = max(_FREE, limits.GZIP_RATIO * path.stat().st_size)
    return io.BufferedReader(_Bounded(open_lines(path), most))


def open_lines(path: Path) -> io.BufferedIOBase:
    """The lines of a file as bytes of UTF-8, unpacked; a byte order mark may be first.

    Raises OSError where it cannot be opened or is damaged, DataError for what is no
    regular file and as `require_content`.
    """
    try:
        with _open(path) as plain:
            encoding = json.detect_encoding(plain.read(4))
    except (EOFError, zlib.error) as error:
        raise OSError(None, f"damaged: {error}") from None
    if encoding.startswith("utf-8"):
        return _open(path)
    return io.BufferedReader(_Recoded(_open(path), encoding))


def _open(path: Path) -> io.BufferedIOBase:
    packed = _head(path).startswith(GZIP)
    return gzip.open(path) if packed else path.open("rb")


def _head(path: Path) -> bytes:
    require_regular(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    try:
        require_content(head)
    except DataError as error:
        raise error.at(str(path)) from None
    return head


class _Bounded(io.RawIOBase):
    """A file of which no more than some bytes are read."""

    def __init__(self, file: io.BufferedIOBase, most: int) -> None:
        self._file, self._most, self._read = file, most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._read += count
        if self._read > self._most:
            raise DataError(f"unpacks to more than {self._most} bytes, refused")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Recoded(io.RawIOBase):
    """A text of another encoding as bytes of UTF-8, once from its beginning."""

    def __init__(self, file: io.BufferedIOBase, encoding: str) -> None:
        self._file, self._rest = file, memoryview(b"")
        decoder = codecs.getincrementaldecoder(encoding)()
        self._decode: Callable[[bytes, bool], str] = decoder.decode

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = b"-"
        while chunk and not self._rest:
            chunk = self._file.read(_CHUNK)
            text = self._decode(chunk, not chunk)
            self._rest = memoryview(text.encode())
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
