"""A running page for tests: its server, and how visitors reach it without a browser."""

import contextlib
import json
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio_client
import httpx

from helpers.tiny import WORDS
from unires_jax.serving.page import command
from unires_jax.serving.page.desk import Desk, Limits
from unires_jax.serving.page.desks import Desks
from unires_jax.serving.predictor import Predictor

TEXT = "\n".join(WORDS)
LIMITS = Limits(file_bytes=1 << 20, waiting=3)


class Site:
    """A running page, and what stands behind it."""

    def __init__(self, desks: Desks, address: str, folder: Path):
        self.desks, self.address, self.folder = desks, address, folder
        self.http = httpx.Client(base_url=address, timeout=60)

    @property
    def desk(self) -> Desk:
        """What stands behind the first model."""
        return self.desks.first

    def client(self) -> gradio_client.Client:
        """Another visitor."""
        return gradio_client.Client(self.address, verbose=False)

    def upload(self, data: bytes, name: str = "a.png") -> httpx.Response:
        """Upload a file; the answer's JSON is a list of its path."""
        return self.http.post("/gradio_api/upload", files={"files": (name, data)})

    def join(
        self, values: list[Any], session: str, event: str = "", about: Any = None
    ) -> httpx.Response:
        """Put a question with these inputs, as JSON, into the queue.

        It is what the button asks, or what follows an event that tells something.
        """
        dependencies = self.http.get("/config").json()["dependencies"]
        asked = [
            x["id"]
            for x in dependencies
            if (event and event in [name for _, name in x["targets"]])
            or (not event and x["api_name"] == "find")
        ]
        question = {
            "data": values,
            "fn_index": asked[0],
            "session_hash": session,
            "event_data": about,
        }
        return self.http.post(
            "/gradio_api/queue/join",
            content=json.dumps(question),  # httpx' own refuses NaN
            headers={"content-type": "application/json"},
        )

    def find(
        self,
        values: list[Any],
        session: str = "raw",
        event: str = "",
        about: Any = None,
    ) -> dict[str, Any]:
        """What the queue answers to a question."""
        joined = self.join(values, session, event, about)
        if joined.status_code != 200:
            return {"success": False, "output": joined.text}
        path = f"/gradio_api/queue/data?session_hash={session}"
        with self.http.stream("GET", path) as lines:
            for line in lines.iter_lines():
                told = json.loads(line[5:]) if line.startswith("data:") else {}
                if told.get("msg") == "process_completed":
                    return dict(told)
        raise AssertionError("the queue fell silent")


@contextlib.contextmanager
def page_of(desks: Desks, root: str = "") -> Iterator[tuple[str, Path]]:
    """The page's address and its folder, while its server runs."""
    from unires_jax.serving.page.server import make_server

    listener = command.listen("127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as name, command.writing_to(Path(name)):
        server = make_server(desks, Path(name), root)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", Path(name)
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def site_of(
    *models: Predictor, limits: Limits = LIMITS, root: str = ""
) -> Iterator[Site]:
    """A page of models that are called a, b, ..."""
    named = zip("abc", models, strict=False)
    desks = Desks({name: partial(_given, model) for name, model in named}, limits)
    with page_of(desks, root) as (address, folder):
        yield Site(desks, address, folder)


def _given(model: Predictor) -> Predictor:
    return model


def given(path: str, **more: Any) -> dict[str, Any]:
    """A file as the page names it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def key_of(answer: str) -> str:
    """Which answers the page's HTML shows."""
    return re.findall(r'data-key="([^"]*)"', answer)[0]


def links(answer: str) -> dict[str, str]:
    """The overlay's and the downloads' addresses in the page's HTML."""
    addresses = re.findall(r'(?:src|href)="(([\w.]+)\?[^"]*)"', answer)
    return {name: link.replace("&amp;", "&") for link, name in addresses}
