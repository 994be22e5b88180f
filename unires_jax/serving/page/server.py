"""The page's server: gradio's page behind the guard, and its downloads.

Overlays and masks are made when they are fetched and never written to disk.
"""

import asyncio
import json
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
from unires_jax.serving.page.guard import UPLOAD, Guard
from unires_jax.serving.page.links import RelativeLinks
from unires_jax.serving.page.site import EXAMPLES, HERE, Page, read_examples
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


def make_server(desk: Desk, folder: Path, root: str = "") -> Server:
    """The page's server. Call and run it inside `command.writing_to(folder)`.

    `root` is the path or address at which a proxy serves it, "" for none.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    _add_downloads(app, desk)
    gr.mount_gradio_app(
        app,
        Page(desk, folder, read_examples()).blocks,
        path="/",
        root_path=root or None,
        allowed_paths=[str(EXAMPLES)],
        max_file_size=desk.limits.file_bytes,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        pwa=False,
        ssr_mode=False,
        mcp_server=False,
        show_error=False,
        theme=gr.themes.Soft(
            font=SYSTEM_FONTS, font_mono=("ui-monospace", "monospace")
        ),
        css_paths=HERE / "page.css",
    )
    mounted: Any = cast(Mount, app.routes[-1]).app  # gradio's
    mounted.add_exception_handler(RequestValidationError, _malformed)
    mounted.add_exception_handler(TypeError, _wrong_upload)
    guard = Guard(RelativeLinks(app), folder, desk.limits, urlsplit(root).path)
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


def _add_downloads(app: FastAPI, desk: Desk) -> None:
    def download(
        make: Callable[[Visit, float], bytes], kind: str, key: str, threshold: str
    ) -> Response:
        visit = desk.visits.by_key(key)
        if visit is None:
            return Response("these answers are no longer kept", 404)
        try:
            data = make(visit, threshold_of(threshold))
        except DataError as error:
            return Response(str(error), 400)
        return Response(data, media_type=kind, headers={"cache-control": "no-store"})

    def as_text(visit: Visit, threshold: float) -> bytes:
        content = desk.masks_json(visit, threshold)
        return json.dumps(content, indent=1, ensure_ascii=False).encode()

    @app.get("/overlay.png")
    def overlay(key: str, threshold: str) -> Response:
        return download(desk.overlay_png, "image/png", key, threshold)

    @app.get("/masks.zip")
    def masks(key: str, threshold: str) -> Response:
        return download(desk.masks_zip, "application/zip", key, threshold)

    @app.get("/masks.json")
    def rle(key: str, threshold: str) -> Response:
        return download(as_text, "application/json", key, threshold)
