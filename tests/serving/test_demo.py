"""The page's server, as browsers and programs meet it. No browser here."""

import contextlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import gradio_client
import httpx
import numpy as np
import pytest
from PIL import Image
from test_export import give
from test_predictor import noise
from tiny_model import WORDS, Counting, Slow, page_of

from unires_jax import cli
from unires_jax.config import ConfigError
from unires_jax.evaluation.segmenter import Loaded
from unires_jax.serving import demo, page
from unires_jax.serving.desk import Desk, Limits
from unires_jax.serving.export import export
from unires_jax.serving.guard import BODY_BYTES
from unires_jax.serving.page import LEVELS, read_examples
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import Predictor

TEXT = "\n".join(WORDS)
LIMITS = Limits(file_bytes=1 << 20, waiting=3)


class Site:
    """A running page, and what stands behind it."""

    def __init__(self, desk: Desk, address: str, folder: Path):
        self.desk, self.address, self.folder = desk, address, folder
        self.http = httpx.Client(base_url=address, timeout=60)

    def client(self) -> gradio_client.Client:
        """Another visitor."""
        return gradio_client.Client(self.address, verbose=False)

    def upload(self, data: bytes, name: str = "a.png") -> httpx.Response:
        """Upload a file; the answer's JSON is a list of its path."""
        return self.http.post("/gradio_api/upload", files={"files": (name, data)})

    def join(self, values: list[Any], session: str) -> httpx.Response:
        """Put a question with these inputs, as JSON, into the queue."""
        config = self.http.get("/config").json()
        number = next(
            x["id"] for x in config["dependencies"] if x["api_name"] == "find"
        )
        question = {"data": values, "fn_index": number, "session_hash": session}
        return self.http.post(
            "/gradio_api/queue/join",
            content=json.dumps(question),  # httpx' own refuses NaN
            headers={"content-type": "application/json"},
        )

    def find(self, values: list[Any], session: str = "raw") -> dict[str, Any]:
        """What the queue answers to a question."""
        joined = self.join(values, session)
        if joined.status_code != 200:
            return {"success": False, "output": joined.text}
        path = f"/gradio_api/queue/data?session_hash={session}"
        with self.http.stream("GET", path) as lines:
            for line in lines.iter_lines():
                told = json.loads(line[5:]) if line.startswith("data:") else {}
                if told.get("msg") == "process_completed":
                    return told
        raise AssertionError("the queue fell silent")


@contextlib.contextmanager
def site_of(model: Predictor, limits: Limits = LIMITS) -> Iterator[Site]:
    desk = Desk(model, limits)
    with page_of(desk) as (address, folder):
        yield Site(desk, address, folder)


@pytest.fixture(scope="module")
def site(loaded: Loaded) -> Iterator[Site]:
    with site_of(Counting(loaded)) as found:
        yield found


def given(path: str, **more: Any) -> dict[str, Any]:
    """A file as the page names it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def ask(client: gradio_client.Client, file: Path, text: str, at: float = 0.5) -> str:
    handed = gradio_client.handle_file(file)
    return str(client.predict(handed, text, at, api_name="/find"))


def links(answer: str) -> dict[str, str]:
    """The overlay's and the downloads' addresses in the page's HTML."""
    found = re.findall(r'(?:src|href)="(([\w.]+)\?[^"]*)"', answer)
    return {name: link.replace("&amp;", "&") for link, name in found}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "my picture.png"
    file.write_bytes(encode_png(noise(7)))
    return file


def test_answers_and_downloads(site: Site, picture: Path) -> None:
    client, model = site.client(), site.desk.model
    answer = ask(client, picture, TEXT)
    expected = model.segment(picture, WORDS)
    for told, segment in zip(
        re.findall("<tr.*?</tr>", answer, re.DOTALL)[1:], expected, strict=True
    ):
        assert segment.expression in told and f"{segment.score:.2f}" in told
        assert f"{segment.area} pixels" in told
        assert ("nothing meant" in told) == segment.no_target
    found = links(answer)
    assert set(found) == {"overlay.png", "masks.zip", "masks.json"}
    overlay = Image.open(io.BytesIO(site.http.get(found["overlay.png"]).content))
    assert overlay.size == (800, 571)
    told = site.http.get(found["masks.json"]).json()
    assert [x["rle"] for x in told["expressions"]] == [x.rle for x in expected]
    data = site.http.get(found["masks.zip"]).content
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        mask = np.array(Image.open(io.BytesIO(archive.read("mask.1.png"))))
    np.testing.assert_array_equal(mask > 0, expected[1].mask)


def test_sentences_and_threshold_do_not_encode_again(
    loaded: Loaded, picture: Path
) -> None:
    model = Counting(loaded)
    with site_of(model) as site:
        client = site.client()
        for text in (*WORDS, TEXT):
            ask(client, picture, text)
        assert model.looked == 1
        decoded = model.decoded
        for threshold in (0.3, 0.7):
            answer = client.predict(threshold, api_name="/threshold")
            told = site.http.get(links(answer)["masks.json"]).json()
            assert {x["threshold"] for x in told["expressions"]} == {threshold}
        assert (model.looked, model.decoded) == (1, decoded)


def test_visitors_do_not_mix(site: Site, tmp_path: Path) -> None:
    failures = []

    def visit(number: int) -> None:
        file = tmp_path / f"{number}.png"
        file.write_bytes(encode_png(noise(number, 30 + number, 50)))
        expected = [x.rle for x in site.desk.model.segment(file, WORDS)]
        client = site.client()
        for _ in range(4):
            found = links(ask(client, file, TEXT))
            told = site.http.get(found["masks.json"]).json()["expressions"]
            if [x["rle"] for x in told] != expected:
                failures.append(number)

    threads = [threading.Thread(target=visit, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_another_session_cannot_reach_what_is_kept(site: Site, picture: Path) -> None:
    ask(site.client(), picture, TEXT)
    with pytest.raises(gradio_client.exceptions.AppError, match="No answers are kept"):
        site.client().predict(0.5, api_name="/threshold")
    for path in ("overlay.png", "masks.zip", "masks.json"):
        assert site.http.get(f"/{path}?key=guess&threshold=0.5").status_code == 404


def test_a_closed_page_is_forgotten(loaded: Loaded, picture: Path) -> None:
    with site_of(Counting(loaded)) as site:
        with site.http.stream("GET", "/gradio_api/heartbeat/me") as beat:
            beats = beat.iter_raw()  # ends the stream when it is collected
            next(beats)
            path = site.upload(picture.read_bytes()).json()[0]
            assert site.find([given(path), TEXT, 0.5], "me")["success"]
            assert len(site.desk.visits) == 1
        end = time.monotonic() + 60
        while len(site.desk.visits) and time.monotonic() < end:
            time.sleep(0.1)
        assert len(site.desk.visits) == 0


def test_nothing_is_written_for_answers(loaded: Loaded, picture: Path) -> None:
    with site_of(Counting(loaded)) as site:
        client = site.client()
        ask(client, picture, TEXT)
        before = {p for p in site.folder.rglob("*") if p.is_file()}
        answer = client.predict(0.4, api_name="/threshold")
        for link in links(answer).values():
            assert site.http.get(link).status_code == 200
        assert {p for p in site.folder.rglob("*") if p.is_file()} == before
        assert sum(p.name == picture.name for p in before) == 1


def test_the_page_names_no_other_host(site: Site) -> None:
    page = site.http.get("/").text
    asked = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"([^\"]+)", page)
    theme = site.http.get("/theme.css").text
    assert asked and not [x for x in asked if re.match(r"(https?:)?//", x)]
    assert not re.findall(r"@import|https?://(?!www\.w3\.org/2000/svg)", theme)
    config = site.http.get("/config").json()
    assert config["analytics_enabled"] is False


def message(told: dict[str, Any]) -> str:
    assert told["success"] is False
    return str(told["output"]["error"])


PICTURE = encode_png(noise(0))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"hello", "no known picture format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no known picture format"),
        (PICTURE[:900], "cannot be decoded"),
    ],
)
def test_what_is_no_picture_gets_a_message(site: Site, data: bytes, told: str) -> None:
    path = site.upload(data).json()[0]
    assert told in message(site.find([given(path), TEXT, 0.5]))


@pytest.mark.parametrize(
    ("text", "threshold", "told"),
    [
        ("", 0.5, "at least one sentence"),
        (None, 0.5, "expected text"),
        ({"a": 1}, 0.5, "expected text"),
        ("a" * 20_000, 0.5, "the limit is 10000"),
        ("a\n" * 99, 0.5, "at most 32"),
        (TEXT, "half", "between 0 and 1"),
        (TEXT, None, "between 0 and 1"),
        (TEXT, [0.5], "between 0 and 1"),
        (TEXT, 1.0, "between 0 and 1"),
    ],
)
def test_wrong_questions_get_a_message(
    site: Site, text: Any, threshold: Any, told: str
) -> None:
    path = site.upload(PICTURE).json()[0]
    assert told in message(site.find([given(path), text, threshold]))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "http://127.0.0.1:9/a.png",
        "https://example.com/a.png",
        "file:///etc/passwd",
        "a\0b",
        "",
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


def test_a_picture_that_was_not_uploaded_is_not_read(
    site: Site, tmp_path: Path
) -> None:
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


@pytest.mark.parametrize("name", ["../../evil.png", "/tmp/evil.png", "a/../../evil"])
def test_uploads_stay_in_their_folder(site: Site, name: str) -> None:
    path = Path(site.upload(PICTURE, name).json()[0])
    assert path.resolve().is_relative_to(site.folder.resolve()) and path.is_file()
    assert site.find([given(str(path)), TEXT, 0.5])["success"]


@pytest.mark.parametrize("value", [3, "text", [], [1], {"a": 1}, {"path": 3}, True])
def test_what_is_no_file_is_refused(site: Site, value: Any) -> None:
    assert site.find([value, TEXT, 0.5])["success"] is False
    assert site.http.get("/config").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring",
        "/gradio_api/deep_link",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=http://127.0.0.1:9/",
        "/gradio_api/file=https://example.com/",
        "/gradio_api/proxy=http://127.0.0.1:9/",
        "/gradio_api/runs",
        "/gradio_api/vibe-code",
        "/docs",
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
    with site_of(Counting(loaded), limits) as site:
        made = [encode_png(noise(i, 300, 300)) for i in range(6)]
        codes = [site.upload(data).status_code for data in made]
        assert codes[0] == 200 and codes[-1] == 503
        old = time.time() - 6
        for file in site.folder.rglob("a.png"):
            os.utime(file, (old, old))
        assert site.upload(made[-1]).status_code == 200
        left = [p for p in site.folder.rglob("a.png") if p.stat().st_mtime <= old]
        assert not left
        assert len(list(site.folder.rglob("val_*.jpg"))) == len(read_examples())


def test_old_files_are_removed_without_a_request(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "SWEEP", 0.05)
    with site_of(Counting(loaded), Limits(file_age=1.0)) as site:
        path = Path(site.upload(PICTURE).json()[0])
        end = time.monotonic() + 60
        while path.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not path.exists()
        told = message(site.find([given(str(path)), TEXT, 0.5]))
        assert "upload it again" in told


def test_a_visitors_words_are_shown_not_run(site: Site) -> None:
    text = "<img src=x onerror=alert(1)>\n{{value}} ${value} <script>1</script>"
    path = site.upload(PICTURE).json()[0]
    answer = site.find([given(path), text, 0.5])["output"]["data"][0]
    assert "<script>1" not in answer and "<img src=x" not in answer
    assert "{{" not in answer and "${" not in answer
    told = message(site.find([given(path), "<b>" * 4000, 0.5]))
    assert "<b>" not in told


ODD: list[Any] = [
    *(None, True, 0, -1, 1e308, "", "x", [], {}, [[]], {"path": None}, "\0", "\ud800"),
    *("a\n" * 50, "x" * 20_000, {"value": 1}, {"__type__": "update"}, float("nan")),
    *([given("/etc/passwd")], given("../a.png"), given("http://127.0.0.1:9/")),
]


def test_mutated_requests_are_refused_and_the_page_lives_on(loaded: Loaded) -> None:
    rng, refused = random.Random(0), 0
    with site_of(Counting(loaded)) as site:
        path = site.upload(PICTURE).json()[0]
        before = {p for p in site.folder.rglob("*")}
        for _ in range(120):
            values: list[Any] = [given(path), TEXT, 0.5]
            for _ in range(rng.randint(1, 2)):
                values[rng.randrange(3)] = rng.choice(ODD)
            if rng.random() < 0.1:
                values = values[: rng.randrange(3)]
            told = site.find(values)
            refused += not told["success"]
            assert not told["success"] or links(told["output"]["data"][0])
        assert refused > 100
        assert site.find([given(path), TEXT, 0.5])["success"]
        assert {p for p in site.folder.rglob("*")} == before


def test_under_load_the_queue_is_bounded_and_says_so(loaded: Loaded) -> None:
    model = Slow(loaded)
    with site_of(model, Limits(waiting=3)) as site:
        path = site.upload(PICTURE).json()[0]
        told: list[dict[str, Any]] = []

        def visit(number: int) -> None:
            told.append(site.find([given(path), TEXT, 0.5], f"session{number}"))

        threads = [threading.Thread(target=visit, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 60
        while len(told) < 12 - 3 - 2 and time.monotonic() < end:
            time.sleep(0.05)
        refused = [x for x in told if not x["success"]]
        model.may.set()
        for thread in threads:
            thread.join()
    assert refused and len(refused) >= 12 - 3 - 2
    assert all("full" in json.dumps(x) for x in refused)
    served = [x for x in told if x["success"]]
    assert len(served) + len(refused) == 12 and len(served) >= 3


def test_examples_are_whole(predictor: Predictor) -> None:
    examples = read_examples()
    assert 4 <= len(examples) <= 6
    for example in examples:
        assert example.object and example.part
        assert example.text(LEVELS[0]) == "\n".join(example.object)
        assert example.text(LEVELS[1]) == "\n".join(example.part)
        assert predictor.encode_image(example.path).note == ""
        assert example.path.stat().st_size < 20_000


def test_help_teaches(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    for word in ("--checkpoint", "--host", "--port", "no login", "Ctrl-C"):
        assert word in told


def test_wrong_flags_are_named(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["demo", "--queue", "0"]) == 1
    assert "--queue=0" in capsys.readouterr().err
    with demo.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["demo", "--port", str(port)]) == 1
    assert f"--port={port}" in capsys.readouterr().err
    for host, number in (("no.such.host.invalid", 0), ("127.0.0.1", 99999)):
        with pytest.raises(ConfigError, match="cannot listen"):
            demo.listen(host, number)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(
    how: signal.Signals, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, loaded)
    export("anything", "safetensors", tmp_path / "model")
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "unires_jax.cli", "demo", "--port", "0"]
    command += ["--checkpoint", str(tmp_path / "model"), "--cache", "", "--warmup", "1"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
    )
    assert process.stdout
    address = ""
    for line in process.stdout:
        if address := "".join(re.findall(r"http://[\d.:]+", line)):
            break
    with httpx.Client(base_url=address) as http:
        files = {"files": ("a.png", PICTURE)}
        assert http.post("/gradio_api/upload", files=files).status_code == 200
        with http.stream("GET", "/gradio_api/heartbeat/me") as beat:
            beats = beat.iter_raw()  # ends the stream when it is collected
            next(beats)
            assert list((tmp_path / "tmp").rglob("a.png"))
            process.send_signal(how)
            rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and "Traceback" not in rest
    assert rest == "ended\n"
    assert not list((tmp_path / "tmp").iterdir())
    assert {p.name for p in tmp_path.iterdir()} == {"model", "tmp"}


def test_gradio_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gr.__version__.startswith("6.")
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ConfigError, match=r"unires_jax\[demo\]"):
        demo.main(["--port", "0"])
