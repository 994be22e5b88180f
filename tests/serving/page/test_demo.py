"""The page's server, as browsers and programs meet it. No browser here."""

import dataclasses
import io
import json
import os
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
from helpers.page_site import TEXT, Site, given, key_of, links, page_of, site_of
from helpers.pictures import noise
from helpers.predictors import Counting, Slow
from helpers.programs import at_once
from helpers.tiny import WORDS, make_loaded, tiny_config
from PIL import Image

from unires_jax import cli
from unires_jax.errors import CheckpointError, ConfigError, DataError
from unires_jax.extras import MissingExtraError
from unires_jax.inference.loaded import Loaded
from unires_jax.serving.page import command as demo
from unires_jax.serving.page.desk import Limits
from unires_jax.serving.page.desks import Desks
from unires_jax.serving.page.shelf import read_shelf
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import Predictor

PICTURE = encode_png(noise(0))


@pytest.fixture(scope="module")
def site(loaded: Loaded) -> Iterator[Site]:
    with site_of(Counting(loaded)) as running:
        yield running


def ask(client: gradio_client.Client, file: Path, text: str, at: float = 0.5) -> str:
    handed = gradio_client.handle_file(file)
    return str(client.predict(handed, text, at, api_name="/find"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "my picture.png"
    file.write_bytes(encode_png(noise(7)))
    return file


def test_answers_and_downloads(site: Site, picture: Path) -> None:
    client, model = site.client(), site.desk.model
    answer = ask(client, picture, TEXT)
    expected = model.segment(picture, WORDS)
    for row, segment in zip(
        re.findall("<tr.*?</tr>", answer, re.DOTALL)[1:], expected, strict=True
    ):
        assert segment.expression in row and f"{segment.score:.2f}" in row
        assert f"{segment.area} pixels" in row
        assert ("no," in row) == segment.no_target
    addresses = links(answer)
    downloads = {"overlay.png", "masks.zip", "masks.json"}
    masks = {"mask.png"} if any(not x.no_target for x in expected) else set()
    assert set(addresses) == downloads | masks | {"picture.jpg"}
    shown = Image.open(io.BytesIO(site.http.get(addresses["picture.jpg"]).content))
    overlay = Image.open(io.BytesIO(site.http.get(addresses["overlay.png"]).content))
    assert overlay.size == shown.size == (800, 571)
    wrong = [addresses["overlay.png"] + "&hidden=a", "/mask.png?key=a&threshold=0.5"]
    assert [site.http.get(x).status_code for x in wrong] == [400, 422]
    row = site.http.get(addresses["masks.json"]).json()
    assert [x["rle"] for x in row["expressions"]] == [x.rle for x in expected]
    data = site.http.get(addresses["masks.zip"]).content
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        mask = np.array(Image.open(io.BytesIO(archive.read("mask.1.png"))))
    np.testing.assert_array_equal(mask > 0, expected[1].mask)


def test_sentences_and_threshold_encode_nothing(loaded: Loaded, picture: Path) -> None:
    model = Counting(loaded)
    with site_of(model) as site:
        client, opened = site.client(), model.looked
        for text in (*WORDS, TEXT):
            answer = ask(client, picture, text)
        assert model.looked == opened + 1
        decoded = model.decoded
        for threshold in (0.3, 0.7):
            answer = client.predict(threshold, key_of(answer), api_name="/threshold")
            answer_json = site.http.get(links(answer)["masks.json"]).json()
            assert {x["threshold"] for x in answer_json["expressions"]} == {threshold}
        assert (model.looked, model.decoded) == (opened + 1, decoded)


def test_visitors_do_not_mix(site: Site, tmp_path: Path) -> None:
    def visit(number: int) -> None:
        file = tmp_path / f"{number}.png"
        file.write_bytes(encode_png(noise(number, 30 + number, 50)))
        expected = [x.rle for x in site.desk.model.segment(file, WORDS)]
        client = site.client()
        for _ in range(4):
            addresses = links(ask(client, file, TEXT))
            answer_json = site.http.get(addresses["masks.json"]).json()["expressions"]
            assert [x["rle"] for x in answer_json] == expected

    at_once(visit, 3)


def test_another_session_cannot_reach_what_is_kept(site: Site, picture: Path) -> None:
    ask(site.client(), picture, TEXT)
    for key in ("", "guess"):
        with pytest.raises(gradio_client.exceptions.AppError, match="no longer kept"):
            site.client().predict(0.5, key, api_name="/threshold")
    for path in ("picture.jpg", "mask.png", "overlay.png", "masks.zip", "masks.json"):
        query = "key=guess&threshold=0.5&row=0"
        assert site.http.get(f"/{path}?{query}").status_code == 404


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
        asked = ask(client, picture, TEXT)
        before = {p for p in site.folder.rglob("*") if p.is_file()}
        answer = client.predict(0.4, key_of(asked), api_name="/threshold")
        for link in links(answer).values():
            assert site.http.get(link).status_code == 200
        assert {p for p in site.folder.rglob("*") if p.is_file()} == before
        assert sum(p.name == picture.name for p in before) == 1


def test_the_page_names_no_other_host(site: Site) -> None:
    page = site.http.get("/").text
    tags = r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"([^\"]+)"
    sources = re.findall(tags, page)
    theme = site.http.get("/theme.css").text
    assert sources and not [x for x in sources if re.match(r"(https?:)?//", x)]
    assert not re.findall(r"@import|https?://(?!www\.w3\.org/2000/svg)", theme)
    config = site.http.get("/config").json()
    assert config["analytics_enabled"] is False


@pytest.mark.parametrize("cut", [True, False])
def test_below_a_proxy_s_path(loaded: Loaded, cut: bool) -> None:
    """A proxy may pass its path on or cut it; the page's links stay below it."""
    with site_of(Counting(loaded), root="/user/me/proxy") as site:
        below = "" if cut else "/user/me/proxy"
        page = site.http.get(f"{below}/")
        assert page.status_code == 200
        assert len(page.content) == int(page.headers["content-length"])
        config = json.loads(
            page.text.partition("window.gradio_config = ")[2].partition(";</script>")[0]
        )
        assert config["root"].endswith("/user/me/proxy")
        linked = re.findall(r'(?:src|href)="([^"#:]+)"', page.text)
        assert linked and not [link for link in linked if link.startswith("/")]
        for link in ["config", *linked]:
            answer = site.http.get(f"{below}/{link.removeprefix('./')}")
            assert answer.status_code == 200, link
        assert site.http.get(f"{below}/monitoring").status_code == 404
        assert site.http.get("/user/other").status_code == 404


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("", ""),
        ("/", ""),
        ("/demo/", "/demo"),
        ("https://a.b:1/x/", "https://a.b:1/x"),
        ("demo", None),
        ("/a b", None),
        ("ftp://a/b", None),
    ],
)
def test_root_paths(text: str, root: str | None) -> None:
    if root is not None:
        assert demo.root_path(text) == root
        return
    with pytest.raises(ConfigError, match="expected a path such as /demo"):
        demo.root_path(text)


def test_under_load_the_queue_is_bounded_and_says_so(loaded: Loaded) -> None:
    model = Slow(loaded)
    with site_of(model, limits=Limits(waiting=3)) as site:
        path = site.upload(PICTURE).json()[0]
        replies: list[dict[str, Any]] = []

        def visit(number: int) -> None:
            replies.append(site.find([given(path), TEXT, 0.5], f"session{number}"))

        threads = [threading.Thread(target=visit, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 60
        while len(replies) < 12 - 3 - 2 and time.monotonic() < end:
            time.sleep(0.05)
        refused = [x for x in replies if not x["success"]]
        model.may.set()
        for thread in threads:
            thread.join()
    assert refused and len(refused) >= 12 - 3 - 2
    assert all("full" in json.dumps(x) for x in refused)
    served = [x for x in replies if x["success"]]
    assert len(served) + len(refused) == 12 and len(served) >= 3


def test_examples_are_whole(predictor: Predictor) -> None:
    examples = read_shelf()
    assert 4 <= len(examples) <= 8
    for number, example in enumerate(examples):
        assert example.object and example.part and examples.take(number) is example
        assert example.text(False) == "\n".join(example.object)
        assert example.text(True) == "\n".join(example.part)
        assert examples.says(example.text(True)) and not examples.says("a dog")
        assert predictor.encode_image(example.path).note == ""
        assert example.path.stat().st_size < (80_000 if example.credit else 20_000)
    for wrong in (-1, len(examples), True, 0.0, "0", None, [0]):
        with pytest.raises(DataError, match="no such example"):
            examples.take(wrong)


def test_photographs_say_whose_they_are(site: Site) -> None:
    """In NOTICE.md, and under the picture, however it was asked about."""
    shelf = read_shelf()
    notice = shelf[0].path.with_name("NOTICE.md").read_text()
    photographs = [n for n, x in enumerate(shelf) if x.credit]
    assert len(photographs) == 2
    for number in photographs:
        example = shelf[number]
        credit = example.credit
        assert credit and f"`{example.path.name}` | {credit.source} | CC BY 2" in notice
        about = {"example": number, "parts": False}
        (_, text, answer) = site.find([0.5], "p", "select", about)["output"]["data"]
        assert text == example.text(False)
        assert f'href="{credit.source}"' in answer and credit.licence in answer
        assert "A photograph; the bundled model knows drawings." in answer
        path = site.upload(example.path.read_bytes()).json()[0]
        (again,) = site.find([given(path), text, 0.5], "p")["output"]["data"]
        assert credit.source in again
    drawn = site.find([0.5], "p", "select", {"example": 0, "parts": False})
    assert 'class="credit"' not in drawn["output"]["data"][2]


class Models:
    """A page of two models: the second, of another size, is loaded when chosen."""

    def __init__(self, folder: Path, loaded: Loaded):
        config = tiny_config(model__image_size=64, model__mask_channels=2)
        other = make_loaded(folder, config)
        untrained = dataclasses.replace(other, meta={"no_target_trained": False})
        self.first, self.loads = Counting(loaded), 0
        self.second = Counting(untrained)
        loaders = {"first": lambda: self.first, "photo <i>": self._load}
        self.desks = Desks(loaders, Limits(kept_bytes=1000))

    def _load(self) -> Predictor:
        self.loads += 1
        return self.second


def test_models_answer_side_by_side(
    tmp_path: Path, loaded: Loaded, picture: Path
) -> None:
    models = Models(tmp_path, loaded)
    desks, names = models.desks, ["photo <i>", "first"]
    with page_of(desks) as (address, folder):
        site = Site(desks, address, folder)
        client, handed = site.client(), gradio_client.handle_file(picture)
        asked = (handed, TEXT, 0.5)
        # A program that knows nothing of models is answered by the first.
        one = str(client.predict(*asked, api_name="/find"))
        assert one.count('class="answers"') == 1 and "<h2>first" in one
        assert models.loads == 0
        both = str(client.predict(*asked, names, api_name="/find"))
        assert models.loads == 1 and "<i>" not in both
        assert re.findall("<h2>([^<]*)", both) == ["first", "photo &lt;i&gt;"]
        keys = re.findall(r'data-key="([^"]*)"', both)
        low = str(client.predict(0.4, ",".join(keys), api_name="/threshold"))
        assert re.findall(r'data-key="([^"]*)"', low) == keys
        for key, model in zip(keys, (models.first, models.second), strict=True):
            query = {"key": key, "threshold": "0.4"}
            sent = site.http.get("/masks.json", params=query).json()["expressions"]
            answers = [x.at(0.4) for x in model.segment(picture, WORDS)]
            assert [x["rle"] for x in sent] == [x.rle for x in answers]
        assert "not trained" in both.rpartition("<h2>")[2]
        looked = models.first.looked, models.second.looked
        client.predict(*asked, names[:1], api_name="/find")
        assert (models.first.looked, models.second.looked) == looked
        for wrong in ([], ["c"], [0], "first", {"a": 1}, ["first", None]):
            path = site.upload(PICTURE).json()[0]
            reply = site.find([given(path), TEXT, 0.5, wrong], "wrong")
            assert reply["success"] is False and "odel" in str(reply["output"])
        with pytest.raises(gradio_client.exceptions.AppError, match="no longer kept"):
            client.predict(0.4, f"{keys[0]},guess", api_name="/threshold")
    assert models.loads == 1 and desks.limits.kept_bytes == 500


def test_a_model_that_fails_when_chosen_is_told(loaded: Loaded) -> None:
    def fail() -> Predictor:
        raise CheckpointError("is gone", place="runs/b")

    desks = Desks({"a": lambda: Counting(loaded), "b": fail})
    with pytest.raises(CheckpointError, match="model b: runs/b: is gone"):
        desks.choose(["a", "b"])
    assert list(desks.choose(None)) == list(desks.choose(["a"])) == ["a"]
    desks.leave("nobody")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {"bundled": "bundled"}),
        (["runs/a", "gs://b/c/", "me/d@v1"], ["a", "c", "d@v1"]),
        (["one=runs/a", "my two=runs/b/a"], {"one": "runs/a", "my two": "runs/b/a"}),
        (["runs/x=1"], {"x=1": "runs/x=1"}),  # a folder's own name
        (["runs/a", "old/a"], "another one is called 'a'"),
        (["=runs/a"], "expected NAME=PLACE"),
        (["a="], "expected NAME=PLACE"),
    ],
)
def test_models_have_names(given: list[str], expected: Any) -> None:
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=expected):
            demo.by_name(given)
    else:
        names = demo.by_name(given)
        assert names == expected or list(names) == expected


def test_a_bad_checkpoint_is_refused_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = ["--checkpoint", "bundled", "--checkpoint", f"mine={tmp_path / 'no'}"]
    assert cli.main(["demo", "--port", "0", *argv]) == 1
    captured = capsys.readouterr()
    assert "--checkpoint mine" in captured.err and "open http" not in captured.out


def test_help_teaches(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    for word in ("--checkpoint", "--host", "--port", "no login", "Ctrl-C"):
        assert word in text


def test_wrong_flags_are_named(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["demo", "--queue", "0"]) == 1
    assert "--queue=0" in capsys.readouterr().err
    with demo.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert cli.main(["demo", "--port", str(port)]) == 1
    assert f"--port={port}" in capsys.readouterr().err
    for host, number in (("no.such.host.invalid", 0), ("127.0.0.1", 99999)):
        with pytest.raises(ConfigError, match="cannot listen"):
            demo.listen(host, number)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "unires_jax.cli", "demo", "--port", "0"]
    command += ["--cache", "", "--warmup", "1"]
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
            output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and "Traceback" not in output
    assert output == "ended\n"
    assert not list((tmp_path / "tmp").iterdir())
    assert {p.name for p in tmp_path.iterdir()} == {"tmp"}


def test_gradio_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gr.__version__.startswith("6.")
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingExtraError, match=r"unires_jax\[demo\]"):
        demo.main(["--port", "0"])
