"""`gs://` and `s3://` for fsspec, and so for epath, on the stand-in of `bucket_server`.

As with true object storage there are no folders, an object appears whole when it is
closed, and nothing can be appended to. The address is in the environment, and `install`
makes a folder that, on PYTHONPATH, gives other processes the same.
"""

import io
import json
import os
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import fsspec

ADDRESS = "UNIRES_TEST_BUCKETS"


def ask(method: str, path: str, body: bytes | None = None) -> bytes:
    """The answer of the server. Raises FileNotFoundError for what is not there."""
    request = Request(os.environ[ADDRESS] + path, data=body, method=method)
    try:
        with urlopen(request, timeout=30) as answer:
            return bytes(answer.read())
    except HTTPError as error:
        if error.code == 404:
            raise FileNotFoundError(path) from None
        raise OSError(f"{method} {path}: {error}") from None


class Google(fsspec.AbstractFileSystem):
    """A client of the JSON API."""

    protocol = ("gs", "gcs")
    cachable = False

    def _at(self, path: str) -> str:
        bucket, _, name = self._strip_protocol(path).partition("/")
        return f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path).rstrip("/")
        bucket, _, name = path.partition("/")
        prefix = quote(f"{name}/" if name else "", safe="")
        query = f"/storage/v1/b/{bucket}/o?delimiter=/&prefix={prefix}"
        answer = json.loads(ask("GET", query))
        entries = [self._entry(bucket, item) for item in answer["items"]]
        entries += [
            {"name": f"{bucket}/{p.rstrip('/')}", "size": 0, "type": "directory"}
            for p in answer["prefixes"]
        ]
        if not entries:
            entries = [self._entry(bucket, json.loads(ask("GET", self._at(path))))]
        return entries if detail else [e["name"] for e in entries]

    def _entry(self, bucket: str, item: dict[str, str]) -> dict[str, Any]:
        name, size = f"{bucket}/{item['name']}", int(item["size"])
        return {"name": name, "size": size, "type": "file"}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        entries = self.ls(path)
        if [e["name"] for e in entries] == [path]:
            return dict(entries[0])
        return {"name": path, "size": 0, "type": "directory"}

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode == "rb":
            return io.BytesIO(ask("GET", f"{self._at(path)}?alt=media"))
        if mode != "wb":
            raise NotImplementedError(f"mode {mode!r} of an object")
        return _Written(path, self)

    def put_whole(self, path: str, content: bytes) -> None:
        bucket, _, name = self._strip_protocol(path).partition("/")
        query = f"uploadType=media&name={quote(name, safe='')}"
        ask("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", content)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        target = self._at(path2).removeprefix("/storage/v1/")
        ask("POST", f"{self._at(path1)}/rewriteTo/{target}", b"")

    def rm_file(self, path: str) -> None:
        ask("DELETE", self._at(path))

    def rm(self, path: Any, recursive: bool = False, **_: Any) -> None:
        for each in self.find(path) if recursive else [path]:
            self.rm_file(each)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        pass

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        pass


class Amazon(Google):
    """Another scheme for the same store."""

    protocol = "s3"


class _Written(io.BytesIO):
    """An object that is being written."""

    def __init__(self, path: str, client: Google) -> None:
        super().__init__()
        self._path, self._client = path, client

    def close(self) -> None:
        if not self.closed:
            self._client.put_whole(self._path, self.getvalue())
        super().close()


# What orbax asks google-cloud-storage: whether a bucket has true folders; none here.
NO_FOLDERS = """class Client:
    def get_bucket(self, name):
        return object()
"""


def install(folder: Path) -> Path:
    """Make a folder that gives any Python with it on its path the clients."""
    about = folder / "stand_in-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: stand-in\nVersion: 1.0\n"
    )
    here = "helpers.bucket_client"
    lines = [f"{n} = {here}:Google" for n in ("gs", "gcs")] + [f"s3 = {here}:Amazon"]
    (about / "entry_points.txt").write_text("\n".join(["[fsspec.specs]", *lines]))
    storage = folder / "google" / "cloud" / "storage.py"
    storage.parent.mkdir(parents=True)
    storage.write_text(NO_FOLDERS)
    return folder


def register() -> None:
    """The same for this process."""
    for name in ("gs", "gcs"):
        fsspec.register_implementation(name, Google, clobber=True)
    fsspec.register_implementation("s3", Amazon, clobber=True)
