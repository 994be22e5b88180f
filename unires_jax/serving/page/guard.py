"""What reaches the page's server: the requests the page makes, of bounded size.

gradio serves many routes besides the page's own: some fetch from other hosts, some
write files. Only what is listed here passes.
"""

import contextlib
import json
import re
import time
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect

from unires_jax.serving.page.desk import Limits

UPLOAD = "/gradio_api/upload"
OPEN = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?"
    r"|/(static|assets|svelte)/.*"
    r"|/gradio_api/(info|startup-events|app_id|upload|upload_progress|cancel|reset"
    r"|queue/join|queue/data|heartbeat/[\w-]+)/?"
    r"|/gradio_api/file=(?!\w+:).*"  # a path, no address
    r"|/(picture\.jpg|mask\.png|overlay\.png|masks\.zip|masks\.json)"
    r"|/examples/\d{1,3}\.jpg",
    re.DOTALL,
)
BODY_BYTES = 1 << 20  # of a request that is no upload (ours)
ENVELOPE = 1 << 16  # of an upload around its file (ours)


class Guard:
    """ASGI: refuses other paths, large bodies, and uploads that would fill the disk."""

    def __init__(self, app: Any, folder: Path, limits: Limits, root: str = ""):
        """`root`: the path at which a proxy serves the page; it may cut it or not."""
        self._root = root
        self._app, self._folder, self._limits = app, folder, limits
        self._ours = set(folder.rglob("*"))  # the examples' pictures

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope = self._below_root(scope)
        refusal = self._refusal(scope)
        if refusal is None:
            with contextlib.suppress(ClientDisconnect):  # in the middle of a request
                await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _refuse(send, *refusal)

    def _below_root(self, scope: Any) -> Any:
        """The request as it is without the proxy's path."""
        path = scope.get("path", "")
        if not self._root or not f"{path}/".startswith(f"{self._root}/"):
            return scope
        cut = path[len(self._root) :] or "/"
        return {**scope, "path": cut, "raw_path": cut.encode()}

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        if scope["type"] != "http":
            return None if scope["type"] == "lifespan" else (404, "no such thing")
        if not OPEN.fullmatch(scope["path"]):
            return 404, "there is no such page"
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        uploads = scope["path"].rstrip("/") == UPLOAD
        limit = self._limits.file_bytes + ENVELOPE if uploads else BODY_BYTES
        size = dict(scope["headers"]).get(b"content-length", b"")
        if not size.isdigit():
            return 411, "a request must say how long it is"
        if int(size) > limit:
            return 413, f"too large: the limit is {limit} bytes"
        if uploads and self.sweep() + int(size) > self._limits.folder_bytes:
            return 503, "too many pictures at the moment; please try again later"
        return None

    def sweep(self) -> int:
        """Remove old uploaded files and emptied folders; how many bytes are left."""
        size, oldest = 0, time.time() - self._limits.file_age
        uploads = set(self._folder.rglob("*")) - self._ours
        for path in sorted(uploads, reverse=True):  # what is in a folder before it
            try:
                about = path.stat()
                old = about.st_mtime < oldest
                if not path.is_dir():
                    size += 0 if old else about.st_size
                    if old:
                        path.unlink()
                elif old:
                    path.rmdir()
            except OSError:  # gone, or a folder that is not empty
                continue
        return size


async def _refuse(send: Any, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
