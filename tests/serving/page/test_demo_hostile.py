"""What no visitor should send: the page refuses it and lives on."""

import contextlib
import json
import os
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from helpers.page_site import TEXT, Site, given, links, site_of
from helpers.pictures import mutated, noise
from helpers.predictors import Counting

from unires_jax.inference.loaded import Loaded
from unires_jax.serving.page import server
from unires_jax.serving.page.desk import Limits
from unires_jax.serving.page.guard import BODY_BYTES
from unires_jax.serving.photo import encode_png


@pytest.fixture(scope="module")
def site(loaded: Loaded) -> Iterator[Site]:
    with site_of(Counting(loaded)) as running:
        yield running


def message(reply: dict[str, Any]) -> str:
    assert reply["success"] is False
    return str(reply["output"]["error"])


PICTURE = encode_png(noise(0))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"hello", "no picture that the page knows"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture that the page"),
        (PICTURE[:900], "damaged or cut off"),
    ],
)
def test_what_is_no_picture_gets_a_message(site: Site, data: bytes, error: str) -> None:
    path = site.upload(data).json()[0]
    assert error in message(site.find([given(path), TEXT, 0.5]))


@pytest.mark.parametrize(
    ("text", "threshold", "error"),
    [
        ("", 0.5, "at least one sentence"),
        (None, 0.5, "must be text"),
        ({"a": 1}, 0.5, "must be text"),
        ("a" * 20_000, 0.5, "the limit is 10000"),
        ("a\n" * 99, 0.5, "at most 32"),
        (TEXT, "half", "between 0 and 1"),
        (TEXT, None, "between 0 and 1"),
        (TEXT, [0.5], "between 0 and 1"),
        (TEXT, 1.0, "between 0 and 1"),
    ],
)
def test_wrong_questions_get_a_message(
    site: Site, text: Any, threshold: Any, error: str
) -> None:
    path = site.upload(PICTURE).json()[0]
    assert error in message(site.find([given(path), text, threshold]))


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../../etc/passwd", "file:///etc/passwd", "a\0b", ""),
        *("http://127.0.0.1:9/a.png", "https://example.com/a.png"),
    ],
)
def test_other_files_and_addresses_are_not_read(site: Site, path: str) -> None:
    before = set(site.folder.rglob("*"))
    for values in (
        [given(path), TEXT, 0.5],
        [given("a.png", url=path), TEXT, 0.5],
        [[given(path)], TEXT, 0.5],
        [None, given(path), 0.5],
        [None, TEXT, {"a": given(path)}],
    ):
        assert site.find(values)["success"] is False
    assert set(site.folder.rglob("*")) == before


def test_a_picture_not_uploaded_is_not_read(site: Site, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encode_png(noise(9)))
    (site.folder / "link.png").symlink_to(tmp_path / "secret.png")
    before = set(site.folder.rglob("*"))
    hidden = tmp_path.relative_to("/") / "secret.png"
    for path in (
        tmp_path / "secret.png",
        site.folder / "link.png",
        site.folder / ".." / ".." / hidden,
        site.folder.with_name(site.folder.name + "x") / "a.png",
    ):
        for values in ([given(str(path)), TEXT, 0.5], [[given(str(path))], TEXT, 0.5]):
            assert site.find(values)["success"] is False, path
    assert set(site.folder.rglob("*")) == before
    (site.folder / "link.png").unlink()


NO_UPLOADS: list[Any] = [
    *(None, [], "x", {"path": 3}, {"path": "a\0"}, {"path": "/etc/passwd"}),
    *({"path": "../a"}, {"path": "http://a"}),
]
NO_EXAMPLES: list[Any] = [None, [0], {"example": 99}, {"example": "0"}]


@pytest.mark.parametrize(
    ("event", "values", "about"),
    [
        *(("upload", [TEXT], about) for about in NO_UPLOADS),
        *(("select", [0.5], about) for about in NO_EXAMPLES),
        ("select", [2.0], {"example": 0}),
    ],
)
def test_events_that_no_page_raises_are_refused(
    site: Site, event: str, values: list[Any], about: Any
) -> None:
    before = set(site.folder.rglob("*"))
    reply = message(site.find(values, "odd", event, about))
    assert reply and "Traceback" not in reply
    assert set(site.folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["../../evil.png", "/tmp/evil.png", "a/../../evil"])
def test_uploads_stay_in_their_folder(site: Site, name: str) -> None:
    path = Path(site.upload(PICTURE, name).json()[0])
    assert path.resolve().is_relative_to(site.folder.resolve()) and path.is_file()
    assert site.find([given(str(path)), TEXT, 0.5])["success"]


def test_a_form_without_a_file_is_malformed(site: Site) -> None:
    forms: list[dict[str, Any]] = [{"files": {"files": (None, b"text")}}, {"json": [1]}]
    for form in forms:
        reply = site.http.post("/gradio_api/upload", **form)
        assert 400 <= reply.status_code < 500 and reply.text
    reply = site.http.post("/gradio_api/queue/join", content=b'{"data": "\x89"}')
    assert reply.status_code == 422 and "malformed" in reply.text


@pytest.mark.parametrize("value", [3, "text", [], [1], {"a": 1}, {"path": 3}, True])
def test_what_is_no_file_is_refused(site: Site, value: Any) -> None:
    assert site.find([value, TEXT, 0.5])["success"] is False
    assert site.http.get("/config").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/monitoring", "/docs", "/gradio_api/deep_link", "/gradio_api/runs"),
        *("/gradio_api/vibe-code", "/gradio_api/proxy=http://127.0.0.1:9/"),
        *("/gradio_api/file=/etc/passwd", "/gradio_api/file=http://127.0.0.1:9/"),
        "/gradio_api/file=https://example.com/",
        "/static/../../../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/pyproject.toml",
    ],
)
def test_other_paths_are_closed(site: Site, path: str) -> None:
    assert site.http.get(path).status_code in (403, 404)


def test_sizes_are_limited(site: Site) -> None:
    assert site.upload(b"0" * ((1 << 20) + (1 << 18))).status_code == 413
    assert site.upload(b"0" * ((1 << 20) + 99)).status_code == 413  # gradio's check
    long = b'{"data": ["' + b"a" * BODY_BYTES + b'"]}'
    kind = {"content-type": "application/json"}
    path = "/gradio_api/queue/join"
    assert site.http.post(path, content=long, headers=kind).status_code == 413
    chunks = (x for x in [b"{", b"}"])  # sent without its length
    assert site.http.post(path, content=chunks).status_code == 411


def test_uploads_cannot_fill_the_disk(loaded: Loaded) -> None:
    limits = Limits(file_bytes=1 << 20, folder_bytes=1 << 20, file_age=5.0)
    with site_of(Counting(loaded), limits=limits) as site:
        pictures = [encode_png(noise(i, 300, 300)) for i in range(6)]
        codes = [site.upload(data).status_code for data in pictures]
        assert codes[0] == 200 and codes[-1] == 503
        old = time.time() - 6
        for file in site.folder.rglob("a.png"):
            os.utime(file, (old, old))
        assert site.upload(pictures[-1]).status_code == 200
        remains = [p for p in site.folder.rglob("a.png") if p.stat().st_mtime <= old]
        assert not remains
        emptied = [p for p in site.folder.glob("*") if not list(p.iterdir())]
        for folder in emptied:
            os.utime(folder, (old, old))
        assert site.upload(PICTURE).status_code == 200
        assert len(emptied) > 1 and not [p for p in emptied if p.exists()]
        assert len(list(site.folder.rglob("val_*.jpg"))) == 1  # what it opens with


def test_old_files_are_removed_without_a_request(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SWEEP", 0.05)
    with site_of(Counting(loaded), limits=Limits(file_age=1.0)) as site:
        path = Path(site.upload(PICTURE).json()[0])
        end = time.monotonic() + 60
        while path.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not path.exists()
        reply = message(site.find([given(str(path)), TEXT, 0.5]))
        assert "upload it again" in reply


def test_a_visitors_words_are_shown_not_run(site: Site) -> None:
    text = "<img src=x onerror=alert(1)>\n{{value}} ${value} <script>1</script>"
    path = site.upload(PICTURE).json()[0]
    answer = site.find([given(path), text, 0.5])["output"]["data"][0]
    assert "<script>1" not in answer and "<img src=x" not in answer
    assert "{{" not in answer and "${" not in answer
    assert "was not read" in answer  # it is a long one
    reply = message(site.find([given(path), "<b>" * 4000, 0.5]))
    assert "<b>" not in reply


ODD: list[Any] = [
    *(None, True, 0, -1, 1e308, "", "x", [], {}, [[]], {"path": None}, "\0", "\ud800"),
    *("a\n" * 50, "x" * 20_000, {"value": 1}, {"__type__": "update"}, float("nan")),
    *([given("/etc/passwd")], given("../a.png"), given("http://127.0.0.1:9/")),
]


MANY = pytest.param(10_000, marks=pytest.mark.slow)


@pytest.mark.parametrize("count", [120, MANY])
def test_mutated_questions_are_refused(loaded: Loaded, count: int) -> None:
    rng, refused = random.Random(0), 0
    with site_of(Counting(loaded)) as site:
        path = site.upload(PICTURE).json()[0]
        before = set(site.folder.rglob("*"))
        for _ in range(count):
            values: list[Any] = [given(path), TEXT, 0.5]
            for _ in range(rng.randint(1, 2)):
                values[rng.randrange(3)] = rng.choice(ODD)
            if rng.random() < 0.1:
                values = values[: rng.randrange(3)]
            reply = site.find(values)
            refused += not reply["success"]
            assert not reply["success"] or links(reply["output"]["data"][0])
        assert refused > 0.8 * count
        assert site.find([given(path), TEXT, 0.5])["success"]
        assert set(site.folder.rglob("*")) == before


def whole_requests(site: Site, path: str) -> list[bytes]:
    """HTTP requests of every route of the page, an upload that would escape too."""
    question = {"data": [given(path), "the car", 0.5], "fn_index": 0}
    deep = b"[" * 50_000
    parts = (
        b'--b\r\ncontent-disposition: form-data; name="files"; '
        b'filename="../../escaped.png"\r\ncontent-type: image/png\r\n\r\n'
    )
    bodies = [
        ("/gradio_api/queue/join", "application/json", deep),
        ("/gradio_api/reset", "application/json", b'{"event_id": "a"}'),
        ("/gradio_api/cancel", "application/json", b'{"event_id": "a"}'),
        (
            "/gradio_api/upload",
            "multipart/form-data; boundary=b",
            parts + PICTURE[:500] + b"\r\n--b--\r\n",
        ),
    ]
    for number in range(6):
        numbered = question | {"fn_index": number, "session_hash": f"s{number}"}
        text = json.dumps(numbered).encode()
        bodies.append(("/gradio_api/queue/join", "application/json", text))
    requests = [
        f"POST {where} HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
        + body
        for where, kind, body in bodies
    ]
    for where in (
        *("/", "/config", "/theme.css", "/static/img/logo.svg", "/assets/index.js"),
        *("/gradio_api/info", "/gradio_api/app_id", "/gradio_api/heartbeat/me"),
        *("/gradio_api/queue/data?session_hash=me", f"/gradio_api/file={path}"),
        *("/overlay.png?key=a&threshold=0.5", "/masks.zip?key=a&threshold=nan"),
        *("/mask.png?key=a&threshold=0.5&row=-1", "/picture.jpg?key=a"),
        "/examples/7.jpg",
        "/gradio_api/upload_progress?upload_id=a",
    ):
        asked = f"GET {where} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        requests.append(asked.encode())
    return requests


def broken(rng: random.Random, request: bytes, donor: bytes) -> bytes:
    """The request, mutated anywhere or, still told its right length, in its body."""
    head, cut, body = request.partition(b"\r\n\r\n")
    if not body or rng.random() < 0.3:
        return mutated(rng, request, donor)
    body = mutated(rng, body, donor.partition(cut)[2] or donor)
    length = b"content-length: %d" % len(body)
    return re.sub(rb"content-length: \d+", length, head) + cut + body


def exchange(site: Site, request: bytes) -> bytes:
    """The first bytes of what the server says to these bytes; b"" for nothing."""
    where = urlsplit(site.address)
    with socket.create_connection((where.hostname, where.port), timeout=60) as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(request)
        line.settimeout(0.2)  # it may wait for more, as the mutated request announced
        try:
            return line.recv(1 << 16)
        except (TimeoutError, ConnectionError):
            return b""


@pytest.mark.parametrize("count", [150, MANY])
def test_mutated_requests_leave_the_page_alive(loaded: Loaded, count: int) -> None:
    rng, statuses = random.Random(1), Counter[int]()
    with site_of(Counting(loaded)) as site:
        path = site.upload(PICTURE).json()[0]
        whole = whole_requests(site, path)
        for _ in range(count):
            request = rng.choice(whole)
            if rng.random() < 0.9:
                request = broken(rng, request, rng.choice(whole))
            reply = exchange(site, request)
            assert b"Traceback" not in reply
            if match := re.match(rb"HTTP/1.1 (\d+)", reply):
                statuses[int(match[1])] += 1
        assert not statuses[500]
        assert statuses[200] and statuses[400] and statuses[404]
        assert site.find([given(path), TEXT, 0.5], "after")["success"]
        assert not [x for x in site.folder.parent.glob("*escaped*")]
        assert not list(Path.cwd().glob("*escaped*"))
