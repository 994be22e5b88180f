"""A request's body, read: JSON with base64, or a form with a file. Bodies are hostile.

A body is counted while it arrives and never longer in memory than it may be; nothing is
written to disk, and nothing in it names a file or an address.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

import pydantic
from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from unires_jax.errors import DataError, shorten
from unires_jax.serving import photo
from unires_jax.serving.api.problems import Problem
from unires_jax.serving.api.schema import EncodeRequest
from unires_jax.serving.api.settings import Settings

ENVELOPE = 1 << 20  # bytes of a body around its picture: names, sentences (ours)
FIELD = 1 << 16  # bytes of a field of a form (ours)
LISTED = 5  # faults of a request that are named (ours)

Asked = TypeVar("Asked", bound=EncodeRequest)


class MemoryParser(MultiPartParser):
    """Starlette's, without files on disk: the whole body may be in memory."""

    spool_max_size = 1 << 62

    def on_part_end(self) -> None:
        """Refuse a text that is no UTF-8; starlette's takes it for Latin-1."""
        part = self._current_part
        try:
            if part.file is None:
                part.data.decode("utf-8")
        except UnicodeDecodeError:
            name = shorten(part.field_name, 80)
            raise MultiPartException(f"{name}: the text is no UTF-8") from None
        super().on_part_end()


async def read(
    request: Request, kind: type[Asked], settings: Settings, take: Callable[[int], None]
) -> tuple[Asked, bytes | None]:
    """What a request asks, and the bytes of its picture; None: it has none.

    `take` is given the number of each chunk's bytes as it arrives. Raises Problem: 408,
    413, 415 or 422.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in ("application/json", "multipart/form-data"):
        raise Problem(
            415,
            f"content-type {shorten(media, 80)!r}: expected application/json, or "
            "multipart/form-data with the picture as a file called image",
        )
    packed = request.headers.get("content-encoding", "identity")
    if packed.strip().lower() not in ("", "identity"):
        raise Problem(
            415, f"content-encoding {shorten(packed, 80)!r}: send the body as it is"
        )
    limit = settings.file_bytes + ENVELOPE
    if media == "application/json":
        limit = settings.file_bytes * 4 // 3 + ENVELOPE  # base64
    chunks = _limited(request, limit, take)
    try:
        async with asyncio.timeout(settings.read_seconds):
            if media == "multipart/form-data":
                form = await _form(request.headers, chunks, settings)
                return await _of_form(form, kind)
            body = bytearray()
            async for chunk in chunks:
                body += chunk
    except TimeoutError:
        raise Problem(
            408, f"the request did not arrive within {settings.read_seconds:g} seconds"
        ) from None
    return await asyncio.to_thread(_of_json, body, kind)


def open_picture(data: bytes, settings: Settings) -> photo.Photo:
    """The pixels of a picture's file, upright. Raises Problem: 413 or 422."""
    if len(data) > settings.file_bytes:
        raise _too_long(len(data), settings.file_bytes)
    try:
        height, width = photo.size_of(data)
        if height * width > settings.pixels:
            raise Problem(
                413,
                f"the picture has {width} x {height} pixels; the limit is "
                f"{settings.pixels / 1e6:g} million: scale it down first",
            )
        return photo.read_photo(data)
    except DataError as error:
        raise Problem(422, str(error)) from None


async def _limited(
    request: Request, limit: int, take: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """The body's chunks. Raises Problem as soon as it is, or says it is, too long."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > limit:
        raise _too_long(int(stated), limit)
    arrived = 0
    async for chunk in request.stream():
        arrived += len(chunk)
        if arrived > limit:
            raise _too_long(arrived, limit)
        take(len(chunk))
        yield chunk


def _too_long(nbytes: int, limit: int) -> Problem:
    return Problem(
        413,
        f"{nbytes / (1 << 20):.3g} MB; the limit is {limit / (1 << 20):.3g} MB: scale "
        "the picture down, or save it as JPEG",
    )


async def _form(
    headers: Headers, chunks: AsyncGenerator[bytes, None], settings: Settings
) -> FormData:
    _, options = parse_options_header(headers["content-type"])
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset not in ("utf-8", "us-ascii"):  # some that Python knows take long
        raise Problem(415, f"charset {shorten(charset, 80)!r}: expected UTF-8")
    parser = MemoryParser(
        headers,
        chunks,
        max_files=1,
        max_fields=settings.sentences + 8,
        max_part_size=FIELD,
    )
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, UnicodeError, ValueError) as error:
        reason = getattr(error, "message", type(error).__name__)
        raise Problem(422, f"the form cannot be read: {reason}") from None


async def _of_form(form: FormData, kind: type[Asked]) -> tuple[Asked, bytes | None]:
    fields: dict[str, Any] = {}
    picture = None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != "image":
                raise Problem(422, f"{shorten(name, 80)!r}: the file is called image")
            picture = await value.read()
        elif name == "image":
            raise Problem(422, "image: text, expected a file (curl -F image=@FILE)")
        elif name == "sentences":
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise Problem(422, f"{shorten(name, 80)}: given twice")
        else:
            fields[name] = value
    try:
        return kind.model_validate(fields), picture
    except pydantic.ValidationError as error:
        raise _invalid(error) from None


def _of_json(body: bytearray, kind: type[Asked]) -> tuple[Asked, bytes | None]:
    try:
        asked = kind.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise _invalid(error) from None
    body.clear()  # as large as the picture
    if asked.image is None:
        return asked, None
    text, asked.image = asked.image, None
    if text.startswith("data:"):  # as a browser writes a picture
        text = text.partition(",")[2]
    try:
        return asked, base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(
            422,
            "image: is no base64; expected a picture's file in base64, never its path "
            "or address",
        ) from None


def _invalid(error: pydantic.ValidationError) -> Problem:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    words = [
        ": ".join(filter(None, (_place(fault["loc"]), shorten(fault["msg"]))))
        for fault in faults[:LISTED]
    ]
    if len(faults) > LISTED:
        words.append(f"and {len(faults) - LISTED} more")
    return Problem(422, "; ".join(words))


def _place(path: tuple[int | str, ...]) -> str:
    """`sentences[2]`"""
    parts = (f"[{x}]" if isinstance(x, int) else f".{shorten(x, 80)}" for x in path)
    return "".join(parts).removeprefix(".")
