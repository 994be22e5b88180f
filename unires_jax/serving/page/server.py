"""The page's server: gradio's page behind the guard, and its downloads.

Overlays and masks are made when they are fetched and never written to disk.
"""

import asyncio
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.routing import Mount

from unires_jax.errors import DataError
from unires_jax.serving.page.desk import Desk, threshold_of
from unires_jax.serving.page.desks import Desks
from unires_jax.serving.page.guard import UPLOAD, Guard
from unires_jax.serving.page.links import RelativeLinks
from unires_jax.serving.page.shelf import EXAMPLES, Shelf, read_shelf
from unires_jax.serving.page.site import HERE, Page
from unires_jax.serving.page.visits import Visit

SYSTEM_FONTS = ("system-ui", "sans-serif")  # nothing is fetched
SWEEP = 60  # seconds between removals of old files (ours)
CLOSING = 5  # seconds that answers in the making have at the end (ours)


class Server(uvicorn.Server):
    """Removes old files while it runs, and ends the streams that open pages hold."""

    def __init__(
        self, config: uvicorn.Config, guard: Guard, streams_end: asyncio.Event
    ):
        super().__init__(config)
        self._guard, self._streams_end = guard, streams_end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._sweeping = asyncio.create_task(self._sweep())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._sweeping.cancel()
        self._streams_end.set()
        await super().shutdown(sockets)

    async def _sweep(self) -> None:
        while True:
            self._guard.sweep()
            await asyncio.sleep(SWEEP)


def make_server(desks: Desks, folder: Path, root: str = "") -> Server:
    """The page's server. Call and run it inside `command.writing_to(folder)`.

    `root` is the path or address at which a proxy serves it, "" for none.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    shelf = read_shelf()
    _add_pictures(app, shelf)
    _add_downloads(app, desks)
    gr.mount_gradio_app(
        app,
        Page(desks, folder, shelf).blocks,
        path="/",
        root_path=root or None,
        allowed_paths=[str(EXAMPLES)],
        max_file_size=desks.limits.file_bytes,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        pwa=False,
        ssr_mode=False,
        mcp_server=False,
        show_error=False,
        theme=_theme(),
        css_paths=HERE / "page.css",
        head=f"<script>{(HERE / 'page.js').read_text()}</script>",
    )
    mounted: Any = cast(Mount, app.routes[-1]).app  # gradio's
    mounted.add_exception_handler(RequestValidationError, _malformed)
    mounted.add_exception_handler(TypeError, _wrong_upload)
    guard = Guard(RelativeLinks(app), folder, desks.limits, urlsplit(root).path)
    config = uvicorn.Config(
        guard, log_level="error", access_log=False, timeout_graceful_shutdown=CLOSING
    )
    return Server(config, guard, mounted.stop_event)


async def _malformed(*_: Any) -> Response:
    """In place of FastAPI's own answer, which repeats the request and may fail so."""
    return JSONResponse({"error": "the request is malformed"}, 422)


async def _wrong_upload(request: Request, error: Exception) -> Response:
    """An uploaded form with text in place of a file, which gradio does not expect."""
    if request.scope["path"].rstrip("/") == UPLOAD:
        return await _malformed()
    raise error


def _theme() -> gr.themes.Base:
    """gradio's, with the contrasts of WCAG 2.2 AA in light and dark."""
    theme = gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        font=SYSTEM_FONTS,
        font_mono=("ui-monospace", "monospace"),
    )
    return theme.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_padding="0",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )


def _add_pictures(app: FastAPI, shelf: Shelf) -> None:
    @app.get("/examples/{number}.jpg")
    def example(number: int) -> Response:
        if number >= len(shelf):
            return Response("there is no such example", 404)
        return Response(shelf[number].path.read_bytes(), media_type="image/jpeg")


def _add_downloads(app: FastAPI, desks: Desks) -> None:
    def download(key: str, make: Callable[[Desk, Visit], bytes], kind: str) -> Response:
        kept = desks.by_key(key)
        if kept is None:
            return Response("these answers are no longer kept", 404)
        name, visit = kept
        try:
            data = make(desks.take(name), visit)
        except DataError as error:
            return Response(str(error), 400)
        return Response(data, media_type=kind, headers={"cache-control": "no-store"})

    @app.get("/picture.jpg")
    def picture(key: str) -> Response:
        return download(key, Desk.picture_jpeg, "image/jpeg")

    @app.get("/mask.png")
    def mask(key: str, threshold: str, row: int) -> Response:
        def make(desk: Desk, visit: Visit) -> bytes:
            return desk.mask_png(visit, threshold_of(threshold), row)

        return download(key, make, "image/png")

    @app.get("/overlay.png")
    def overlay(key: str, threshold: str, hidden: str = "") -> Response:
        def make(desk: Desk, visit: Visit) -> bytes:
            return desk.overlay_png(visit, threshold_of(threshold), _numbers(hidden))

        return download(key, make, "image/png")

    @app.get("/masks.zip")
    def masks(key: str, threshold: str) -> Response:
        def make(desk: Desk, visit: Visit) -> bytes:
            return desk.masks_zip(visit, threshold_of(threshold))

        return download(key, make, "application/zip")

    @app.get("/masks.json")
    def rle(key: str, threshold: str) -> Response:
        def make(desk: Desk, visit: Visit) -> bytes:
            content = desk.masks_json(visit, threshold_of(threshold))
            return json.dumps(content, indent=1, ensure_ascii=False).encode()

        return download(key, make, "application/json")


def _numbers(text: str) -> set[int]:
    """The numbers of a list such as 0,2. Raises DataError for anything else."""
    if not re.fullmatch(r"(\d{1,4}(,\d{1,4})*)?", text, re.ASCII):
        raise DataError("Hidden masks are named by their numbers: 0,2.")
    return {int(number) for number in text.split(",") if number}
