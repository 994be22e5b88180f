"""A stand-in for the Hugging Face Hub over loopback, kept in memory.

Of its API what huggingface_hub asks to make a repository of a model, to commit files
(inline ones, and large ones after an upload of their own), and to fetch a snapshot.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"
LARGE = 1 << 16  # bytes; files above are uploaded apart


class Hub:
    """Repositories: files by name, for the one revision `main`."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.uploads: dict[str, bytes] = {}  # by sha256
        self.url = ""

    def commit(self, repository: str) -> str:
        """Of its content, 40 hex digits."""
        files = self.repositories[repository]
        text = repr(
            sorted((n, hashlib.sha256(x).hexdigest()) for n, x in files.items())
        )
        return hashlib.sha1(text.encode()).hexdigest()


def _blob(content: bytes) -> str:
    """What git calls a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, status: int, content: Any = b"", **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _absent(self) -> None:
        self._send(404, {"error": "none"}, X_Error_Code="RepoNotFound")

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/main)?", path):
            self._info(match[1])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[0-9a-f]+", path):
            self._tree(match[1])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._file(match[1], match[2])
        else:
            self._absent()

    do_HEAD = do_GET

    def _info(self, name: str) -> None:
        if name not in self.hub.repositories:
            return self._absent()
        names = [{"rfilename": n} for n in sorted(self.hub.repositories[name])]
        sha = self.hub.commit(name)
        self._send(200, {"id": name, "sha": sha, "siblings": names})

    def _tree(self, name: str) -> None:
        entries = [
            {"type": "file", "path": n, "size": len(x), "oid": _blob(x)}
            for n, x in sorted(self.hub.repositories[name].items())
        ]
        self._send(200, entries)

    def _file(self, repository: str, name: str) -> None:
        content = self.hub.repositories.get(repository, {}).get(name)
        if content is None:
            return self._send(404, b"", X_Error_Code="EntryNotFound")
        etag = f'"{_blob(content)}"'
        commit = self.hub.commit(repository)
        self._send(200, content, ETag=etag, X_Repo_Commit=commit)

    def do_POST(self) -> None:
        body, path = self._body(), unquote(urlsplit(self.path).path)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            self._modes(json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(match[1], body)
        else:
            self._send(200, {})  # of validators beside the way

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization', 'me')}/{asked['name']}"
        if name in self.hub.repositories:
            return self._send(409, {"url": f"{self.hub.url}/{name}"})
        self.hub.repositories[name] = {}
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.private.add(name)
        self._send(200, {"url": f"{self.hub.url}/{name}"})

    def _modes(self, asked: dict[str, Any]) -> None:
        files = [
            {
                "path": f["path"],
                "uploadMode": "lfs" if f["size"] > LARGE else "regular",
                "shouldIgnore": False,
            }
            for f in asked["files"]
        ]
        self._send(200, {"files": files})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = [
            {
                "oid": o["oid"],
                "size": o["size"],
                "actions": {"upload": {"href": f"{self.hub.url}/upload/{o['oid']}"}},
            }
            for o in asked["objects"]
        ]
        kind = "application/vnd.git-lfs+json"
        answer = {"transfer": "basic", "objects": objects}
        self._send(200, answer, Content_Type=kind)

    def do_PUT(self) -> None:
        content = self._body()
        self.hub.uploads[hashlib.sha256(content).hexdigest()] = content
        self._send(200, ETag='"1"')

    def _commit(self, repository: str, body: bytes) -> None:
        files = self.hub.repositories[repository]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = self.hub.commit(repository)
        url = f"{self.hub.url}/{repository}/commit/{oid}"
        self._send(200, {"commitUrl": url, "commitOid": oid, "success": True})


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub, at `url` on loopback, as long as the context lasts."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
