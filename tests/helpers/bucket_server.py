"""A stand-in for object storage: Google's JSON API over loopback, kept in memory.

Of the API what clients here ask for, with the conditions they rely on: an object
appears whole, gets a new generation with each writing, and is written or deleted only
if it is of the generation that the request names (else 412).
"""

import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)")
LIST = re.compile(r"/storage/v1/b/([^/]+)/o")
UPLOAD = re.compile(r"(?:/upload)(?:/resumable)?/storage/v1/b/([^/]+)/o")
COPY = re.compile(
    r"/storage/v1/b/([^/]+)/o/([^/]+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)"
)


class Store:
    """Objects by bucket and name, and what was read of them."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.read: dict[str, int] = {}  # bytes sent, by name
        self._generations = itertools.count(1)
        self.lock = threading.RLock()

    def put(self, bucket: str, name: str, content: bytes) -> None:
        """Write an object, whatever is there."""
        with self.lock:
            self.objects[bucket, name] = (content, next(self._generations))

    def names(self, bucket: str = "bucket") -> list[str]:
        """The names of a bucket's objects, sorted."""
        with self.lock:
            return sorted(n for b, n in self.objects if b == bucket)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), Content_Type="application/json")

    def _describe(self, bucket: str, name: str) -> dict[str, str]:
        content, generation = self.store.objects[bucket, name]
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(content)),
            "generation": str(generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
        }

    def _parts(self, pattern: re.Pattern[str]) -> list[str]:
        match = pattern.fullmatch(urlsplit(self.path).path)
        return [unquote(part) for part in match.groups()] if match else []

    def _query(self) -> dict[str, str]:
        return {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}

    def _refused(self, bucket: str, name: str) -> bool:
        """Whether the object is not of the generation the request is meant for."""
        wanted = self._query().get("ifGenerationMatch")
        _, generation = self.store.objects.get((bucket, name), (b"", 0))
        if wanted is None or int(wanted) == generation:
            return False
        self._send(412)
        return True

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def do_GET(self) -> None:
        self._body()
        with self.store.lock:
            if parts := self._parts(OBJECT):
                self._get(*parts)
            elif parts := self._parts(LIST):
                self._list(*parts)
            else:
                self._send(404)

    def _get(self, bucket: str, name: str) -> None:
        if (bucket, name) not in self.store.objects:
            self._send(404)
        elif self._query().get("alt") == "media":
            content, generation = self.store.objects[bucket, name]
            if self._query().get("ifGenerationNotMatch") == str(generation):
                self._send(304)
                return
            headers = {"x_goog_generation": str(generation)}
            asked = re.fullmatch(
                r"bytes=(\d*)-(\d*)", self.headers.get("Range", "bytes=0-")
            )
            assert asked
            first, last = asked.groups()
            total = len(content)
            begin = int(first) if first else max(total - int(last), 0)
            end = min(int(last) + 1, total) if first and last else total
            if begin >= total and total:
                self._send(416, Content_Range=f"bytes */{total}")
                return
            piece, status = content[begin:end], 200
            if "Range" in self.headers and total:
                headers["Content_Range"] = f"bytes {begin}-{end - 1}/{total}"
                status = 206
            self.store.read[name] = self.store.read.get(name, 0) + len(piece)
            self._send(status, piece, **headers)
        else:
            self._json(self._describe(bucket, name))

    def _list(self, bucket: str) -> None:
        query = self._query()
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        names = [n for n in self.store.names(bucket) if n.startswith(prefix)]
        names = [n for n in names if n >= query.get("startOffset", "")]
        if end := query.get("endOffset"):
            names = [n for n in names if n < end]
        items, prefixes = [], set()
        for name in names:
            head, found, _ = name[len(prefix) :].partition(delimiter or "\0")
            if delimiter and found:
                prefixes.add(prefix + head + delimiter)
            else:
                items.append(self._describe(bucket, name))
        answer = {"kind": "storage#objects", "items": items}
        self._json(answer | {"prefixes": sorted(prefixes)})

    def do_POST(self) -> None:
        body = self._body()
        with self.store.lock:
            if parts := self._parts(UPLOAD):
                self._upload(*parts, body)
            elif parts := self._parts(COPY):
                source, target = (parts[0], parts[1]), (parts[2], parts[3])
                if source not in self.store.objects:
                    self._send(404)
                    return
                self.store.put(*target, self.store.objects[source][0])
                described = self._describe(*target)
                self._json(described | {"done": True, "resource": described})
            else:
                self._send(501)

    def _upload(self, bucket: str, body: bytes) -> None:
        query, kind = self._query(), self.headers.get("Content-Type", "")
        if query.get("uploadType") == "resumable":
            address = f"http://{self.headers['Host']}{self.path}".replace(
                "uploadType=resumable", "uploadType=media"
            )
            self._send(200, Location=address)
            return
        if query.get("uploadType") == "multipart":
            mark = re.search(r"boundary=['\"]?([^'\";]+)", kind)
            assert mark
            _, about, rest = body.split(b"--" + mark[1].encode(), 2)
            name = json.loads(
                about.partition(b"\r\n\r\n")[2] or about.split(b"\n\n")[1]
            )
            content = re.split(rb"\r?\n\r?\n", rest, maxsplit=1)[1]
            end = content.rindex(b"--" + mark[1].encode())
            body = content[:end].removesuffix(b"\n").removesuffix(b"\r")
            query["name"] = str(name["name"])
        if not self._refused(bucket, query["name"]):
            self.store.put(bucket, query["name"], body)
            self._json(self._describe(bucket, query["name"]))

    def do_DELETE(self) -> None:
        self._body()
        with self.store.lock:
            bucket, name = self._parts(OBJECT)
            if self._refused(bucket, name):
                return
            gone = self.store.objects.pop((bucket, name), None)
            self._send(404 if gone is None else 204)


@contextmanager
def serving() -> Iterator[tuple[Store, str]]:
    """A server of an empty store, and its address."""
    store = Store()
    handler = type("Handler", (_Handler,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
