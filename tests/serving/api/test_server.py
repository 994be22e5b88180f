"""The server as its clients meet it: real sockets, the tiny model."""

import base64
import contextlib
import dataclasses
import gzip
import io
import json
import os
import random
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest
from helpers.api_site import POISON, SETTINGS, ApiSite, Held, api_of, until
from helpers.paths import ROOT
from helpers.pictures import bomb, encoded, mutated, noise
from helpers.programs import run
from helpers.tiny import WORDS, make_loaded, tiny_config
from PIL import Image

from unires_jax.serving.api.batcher import Batcher
from unires_jax.serving.api.problems import Problem
from unires_jax.serving.api.schema import SegmentAnswer
from unires_jax.serving.api.server import serve
from unires_jax.serving.listening import listen
from unires_jax.serving.photo import encode_png, read_photo

SENTENCES = WORDS[:2]
PICTURE = encode_png(noise(0))
HERE = "http://127.0.0.1:8000"  # in the documentation
SCORES = 1e-5  # by which scores of other batches differ, at most: sums of another order


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Held:
    """One length of sentences: little is compiled."""
    folder = tmp_path_factory.mktemp("tiny")
    return Held(make_loaded(folder, tiny_config(data__lengths=(16,))))


@pytest.fixture(scope="module")
def site(model: Held) -> Iterator[ApiSite]:
    with api_of(model) as running:
        yield running


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def segment(site: ApiSite, data: bytes = PICTURE, **more: Any) -> httpx.Response:
    body = {"image": base64_of(data), "sentences": SENTENCES} | more
    return site.http.post("/v1/segment", json=body)


def check(site: ApiSite, answer: Any, name: str) -> None:
    """Validate an answer by the published schema."""
    openapi = site.http.get("/openapi.json").json()
    schema = {"$ref": f"#/components/schemas/{name}", **openapi}
    jsonschema.Draft202012Validator(schema).validate(answer)


def expect(site: ApiSite, response: httpx.Response, data: bytes = PICTURE) -> Any:
    """The answer, equal to the Predictor's to the picture alone."""
    assert response.status_code == 200, response.text
    answer = response.json()
    expected = SINGLE.answers(site, data)
    assert [x["expression"] for x in answer["answers"]] == SENTENCES
    for x, e in zip(answer["answers"], expected, strict=True):
        assert x["rle"] == e.rle and x["box"] == list(e.box) and x["area"] == e.area
        assert x["no_target"] == e.no_target
        assert abs(x["score"] - e.score) < SCORES
        assert abs(x["no_target_probability"] - e.no_target_probability) < SCORES
    return answer


class Single:
    """The Predictor's answers to single pictures."""

    def answers(self, site: ApiSite, data: bytes) -> Any:
        model = site.service._model
        image = super(Held, model).encode_images([data])[0]
        # As many rows as the server's, so that the decoder is compiled once.
        four = model.segment(image, SENTENCES * 2)
        return four[: len(SENTENCES)]


SINGLE = Single()


def problem(response: httpx.Response, status: int, words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    answer = response.json()
    assert answer["status"] == status and answer["title"] and words in answer["detail"]
    assert ("retry-after" in response.headers) == (status in (429, 503))


def test_every_way_to_ask_gives_the_predictor_s_answer(site: ApiSite) -> None:
    http = site.http
    form = http.post(
        "/v1/segment",
        files={"image": ("my photo.png", PICTURE)},
        data={"sentences": SENTENCES, "keep": "true", "threshold": "0.5"},
    )
    answer = expect(site, form)
    check(site, answer, "SegmentAnswer")
    published = json.loads((ROOT / "docs" / "serve.schema.json").read_text())
    jsonschema.validate(answer, published)
    assert answer["height"] == 40 and answer["width"] == 56 and answer["warnings"] == []
    assert answer["model"]["name"] == "tiny" and answer["model"]["version"]
    assert re.fullmatch("[0-9a-f]{16}", answer["model"]["fingerprint"])
    body = {"sentences": SENTENCES}
    link = f"data:image/png;base64,{base64_of(PICTURE)}"
    expect(site, http.post("/v1/segment", json=body | {"image": link}))
    expect(site, http.post("/v1/segment", json=body | {"key": answer["key"]}))
    encoding = http.post("/v1/encode", files={"image": PICTURE}).json()
    check(site, encoding, "EncodeAnswer")
    looked = len(site.service._model.batches)
    by_key = http.post("/v1/segment", json=body | {"key": encoding["key"]})
    assert expect(site, by_key)["key"] == encoding["key"]
    assert len(site.service._model.batches) == looked


def test_forms_of_masks_and_the_threshold(site: ApiSite) -> None:
    expected = [x.at(0.3) for x in SINGLE.answers(site, PICTURE)]
    png = segment(site, masks="png", threshold=0.3).json()
    check(site, png, "SegmentAnswer")
    for x, e in zip(png["answers"], expected, strict=True):
        mask = Image.open(io.BytesIO(base64.b64decode(x["png"])))
        np.testing.assert_array_equal(np.array(mask) > 0, e.mask)
        assert x["rle"] is None and x["threshold"] == 0.3
    none = segment(site, masks="none").json()["answers"]
    assert all(x["rle"] is x["png"] is None for x in none)


def test_the_schema_in_the_docs_is_the_answer_s() -> None:
    """Its fields; pydantic's versions write the rest in other words."""
    published = json.loads((ROOT / "docs" / "serve.schema.json").read_text())
    actual = SegmentAnswer.model_json_schema()

    def fields(schema: Any) -> Any:
        parts = {"": schema, **schema["$defs"]}
        return {k: (set(v["properties"]), v["required"]) for k, v in parts.items()}

    assert fields(published) == fields(actual)


def test_requests_of_one_moment_go_together_and_none_is_crossed(
    site: ApiSite, model: Held
) -> None:
    pictures = [encode_png(noise(i, 30 + i, 50)) for i in range(6)]
    files = {"image": pictures[4]}
    key = site.http.post("/v1/encode", files=files).json()["key"]
    with holding(model), ThreadPoolExecutor(8) as pool:
        first = pool.submit(segment, site)  # the device is busy with it
        until(model.asked.is_set)
        model.batches.clear()
        rest = [pool.submit(segment, site, x) for x in pictures]
        body = {"key": key, "sentences": SENTENCES}
        kept = pool.submit(site.http.post, "/v1/segment", json=body)
        until(lambda: len(site.service.batcher._waiting) == 7)
        model.may.set()
        expect(site, first.result())
        for answer, data in zip(rest, pictures, strict=True):
            expect(site, answer.result(), data)
        expect(site, kept.result(), pictures[4])
    # Two sentences each, four at once.
    assert sum(map(len, model.batches)) == 7 and max(map(len, model.batches)) == 2


@contextlib.contextmanager
def holding(model: Held) -> Iterator[None]:
    model.may.clear()
    model.asked.clear()
    try:
        yield
    finally:
        model.may.set()


def test_pictures_are_looked_at_together(site: ApiSite, model: Held) -> None:
    with holding(model), ThreadPoolExecutor(5) as pool:
        replies = []
        for i in range(5):
            files = {"image": encode_png(noise(i))}
            replies.append(pool.submit(site.http.post, "/v1/encode", files=files))
            until(model.asked.is_set)  # the first is alone
        until(lambda: len(site.service.batcher._waiting) == 4)
        model.batches.clear()
        model.may.set()
        assert all(reply.result().status_code == 200 for reply in replies)
    assert [len(x) for x in model.batches] == [1, 4]


def test_one_that_fails_fails_alone(site: ApiSite, model: Held) -> None:
    pixels = noise(3)
    pixels[0, 0] = POISON
    with holding(model), ThreadPoolExecutor(4) as pool:
        first = pool.submit(segment, site)
        until(model.asked.is_set)
        bad = pool.submit(segment, site, encode_png(pixels))
        good = pool.submit(segment, site, encode_png(noise(4)))
        until(lambda: len(site.service.batcher._waiting) == 2)
        model.may.set()
        expect(site, first.result())
        expect(site, good.result(), encode_png(noise(4)))
        problem(bad.result(), 500, "the server failed")


def test_nobody_waits_for_a_device_whose_thread_ended(model: Held) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError("no more")

    batcher = Batcher(model, batch=4, sentences=4, max_wait=0.0, observe=fail)
    batcher.start()
    until(lambda: batcher.ready)
    photo = read_photo(noise(0))
    with holding(model):
        first = batcher.submit(photo, SENTENCES)
        until(model.asked.is_set)
        waiting = batcher.submit(photo, SENTENCES)
        model.may.set()
        assert len(first.result(600).segments) == len(SENTENCES)
    for refused in (waiting, batcher.submit(photo, SENTENCES)):
        error = refused.exception(600)
        assert isinstance(error, Problem) and error.status == 503
    until(lambda: not batcher.ready)
    assert isinstance(batcher.failure, MemoryError)


def test_a_full_server_says_so(model: Held) -> None:
    settings = dataclasses.replace(SETTINGS, requests=3)
    with api_of(model, settings) as site, holding(model), ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(segment, site) for _ in range(3)]
        site.wait_until_inside(3)
        problem(segment(site), 429, "3 requests are in the server")
        model.may.set()
        for reply in waiting:
            expect(site, reply.result())
        expect(site, segment(site))


def test_too_many_bytes_at_once_are_refused(model: Held) -> None:
    settings = dataclasses.replace(SETTINGS, body_bytes=1000)
    with api_of(model, settings) as site:
        problem(segment(site), 503, "too many large pictures")
        assert site.service.admission.held == 0


def raw(site: ApiSite, text: bytes) -> socket.socket:
    """A connection that has sent this."""
    connection = socket.create_connection(site.service_address, timeout=60)
    connection.sendall(text)
    return connection


def head(path: str, size: int | None, kind: str = "application/json") -> bytes:
    length = "transfer-encoding: chunked" if size is None else f"content-length: {size}"
    lines = [f"POST {path} HTTP/1.1", "host: a", f"content-type: {kind}", length]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_client_that_goes_costs_nothing(site: ApiSite, model: Held) -> None:
    odd = encode_png(noise(5, 33, 44))
    body = json.dumps({"image": base64_of(odd), "sentences": SENTENCES}).encode()
    model.batches.clear()
    with holding(model), ThreadPoolExecutor(1) as pool:
        first = pool.submit(segment, site)
        until(model.asked.is_set)
        gone = raw(site, head("/v1/segment", len(body)) + body)
        until(lambda: len(site.service.batcher._waiting) == 1)
        slow = raw(site, head("/v1/segment", len(body)) + body[:100])
        site.wait_until_inside(3)
        gone.close()
        slow.close()
        site.wait_until_inside(1)
        until(lambda: not site.service.batcher._waiting)  # nor is its picture kept
        model.may.set()
        expect(site, first.result())
    expect(site, segment(site))
    assert (33, 44) not in [size for batch in model.batches for size in batch]
    counted = site.http.get("/metrics").text
    assert 'unires_requests_total{path="/v1/segment",status="499"} 2' in counted


def test_bodies_are_measured_while_they_arrive(site: ApiSite) -> None:
    """The server refuses before the whole has come, or it would wait for ever."""
    most = SETTINGS.file_bytes * 2 + (1 << 20)
    for text in (
        head("/v1/segment", 1 << 40),
        head("/v1/encode", None) + b"%x\r\n" % (most + 9) + bytes(most),
    ):
        connection = raw(site, text)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
        connection.close()
    expect(site, segment(site))


def test_bodies_must_arrive_in_time(model: Held) -> None:
    settings = dataclasses.replace(SETTINGS, read_seconds=0.2)
    with api_of(model, settings) as site:
        connection = raw(site, head("/v1/segment", 100) + b"{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        connection.close()
        assert site.service.admission.inside == 0


GOOD = {"image": base64_of(PICTURE), "sentences": SENTENCES}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"image": None}, 422, "expected a picture as image"),
        ({"key": "x"}, 422, "not both"),
        ({"image": None, "key": "x"}, 404, "encode it again"),
        ({"image": "/etc/passwd"}, 422, "never its path"),
        ({"image": "http://127.0.0.1:9/a.png"}, 422, "never its path"),
        ({"image": base64_of(b"hello")}, 422, "no known picture format"),
        ({"image": base64_of(PICTURE[:900])}, 422, "cannot be decoded"),
        ({"image": base64_of(bomb(9000))}, 413, "the limit is 50 million"),
        ({"image": base64_of(bytes(1 << 19))}, 413, "the limit is 0.25 MB"),
        ({"image": 3}, 422, "image: "),
        ({"sentences": []}, 422, "sentences: "),
        ({"sentences": ["a", " "]}, 422, "expressions[1]: is empty"),
        ({"sentences": "a"}, 422, "sentences: "),
        ({"sentences": ["a"] * 5}, 422, "at most 4"),
        ({"sentences": ["a" * 10_001]}, 422, "the limit is 10000"),
        ({"sentences": ["\ud800"]}, 422, ""),
        ({"threshold": 0}, 422, "threshold: "),
        ({"threshold": float("nan")}, 422, "threshold: "),
        ({"masks": "svg"}, 422, "masks: "),
        ({"path": "/etc/passwd"}, 422, "path: "),
    ],
)
def test_wrong_questions_get_words(
    site: ApiSite, change: dict[str, Any], status: int, words: str
) -> None:
    body = json.dumps(GOOD | change).encode()
    kind = {"content-type": "application/json"}
    reply = site.http.post("/v1/segment", content=body, headers=kind)
    problem(reply, status, words)
    check(site, reply.json(), "ProblemAnswer")


@pytest.mark.parametrize(
    ("form", "status", "words"),
    [
        ({"files": {"photo": PICTURE}}, 422, "called image"),
        ({"files": {"image": (None, "text")}}, 422, "expected a file"),
        ({"files": [("image", PICTURE)] * 2}, 422, "Too many files"),
        ({"files": {"image": PICTURE}}, 422, "sentences: "),
        ({"files": {"image": b"hello"}, "data": {"sentences": "a"}}, 422, "format"),
        (
            {"files": {"image": PICTURE}, "data": {"sentences": ["a"] * 99}},
            422,
            "Too many fields",
        ),
        (
            {
                "content": b'--b\r\nContent-Disposition: form-data; name="sentences"'
                b"\r\n\r\nla cl\xe9\r\n--b--\r\n",
                "headers": {"content-type": "multipart/form-data; boundary=b"},
            },
            422,
            "sentences: the text is no UTF-8",
        ),
        ({"data": {"sentences": "a"}}, 415, "expected application/json"),
        ({"content": b"a"}, 415, "expected application/json"),
        (
            {"content": b"a", "headers": {"content-type": "multipart/form-data"}},
            422,
            "Missing boundary",
        ),
        (
            {
                "content": b"a",
                "headers": {"content-type": "multipart/form-data; charset=punycode"},
            },
            415,
            "expected UTF-8",
        ),
        (
            {
                "content": gzip.compress(b"{}"),
                "headers": {
                    "content-type": "application/json",
                    "content-encoding": "gzip",
                },
            },
            415,
            "content-encoding 'gzip': send the body as it is",
        ),
    ],
)
def test_wrong_forms_get_words(
    site: ApiSite, form: dict[str, Any], status: int, words: str
) -> None:
    problem(site.http.post("/v1/segment", **form), status, words)


def test_other_paths_and_methods_get_words(site: ApiSite) -> None:
    problem(site.http.get("/etc/passwd"), 404, "/docs lists them")
    problem(site.http.get("/docs-files/../../etc/passwd"), 404, "/docs lists them")
    problem(site.http.get("/v1/segment"), 405, "")
    assert "access-control-allow-origin" not in site.http.get("/v1/health").headers


def test_mutated_requests_do_not_hurt(site: ApiSite) -> None:
    r = random.Random(0)
    request = httpx.Request(
        "POST", site.address, files={"image": PICTURE}, data={"sentences": SENTENCES}
    )
    bodies = {
        request.headers["content-type"]: request.read(),
        "application/json": json.dumps(GOOD).encode(),
    }
    met = set()
    for kind, body in bodies.items():
        for _ in range(30):
            data = mutated(r, body, body)
            reply = site.http.post(
                "/v1/segment", content=data, headers={"content-type": kind}
            )
            met.add(reply.status_code)
    assert 422 in met and met <= {200, 413, 422}
    expect(site, segment(site))


def test_a_picture_turned_scaled_or_animated(site: ApiSite) -> None:
    """Its size is the one it is used in, as the Predictor's."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(noise(1)), "JPEG", exif=exif)
    answer = segment(site, turned).json()
    assert (answer["height"], answer["width"]) == (56, 40)
    assert answer["answers"][0]["rle"]["size"] == [56, 40]


def test_the_token_is_asked_for(model: Held) -> None:
    settings = dataclasses.replace(SETTINGS, token="secret")
    with api_of(model, settings) as site:
        for path in ("/v1/model", "/metrics"):
            assert site.http.get(path).status_code == 401
        for words in ("", "Bearer secre", "Basic secret", "Bearer s\u00e9cret"):
            headers = {"authorization": words.encode()}
            reply = site.http.post("/v1/segment", json=GOOD, headers=headers)
            problem(reply, 401, "Authorization: Bearer TOKEN")
            assert reply.headers["www-authenticate"] == "Bearer"
        # Refused before the body has come.
        connection = raw(site, head("/v1/segment", 1000))
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
        connection.close()
        site.http.headers["authorization"] = "Bearer secret"
        expect(site, segment(site))
        del site.http.headers["authorization"]
        assert site.http.get("/v1/health").status_code == 200


def test_health_tells_when_it_is_warm(model: Held) -> None:
    with holding(model), api_of(model, ready=False) as site:
        reply = site.http.get("/v1/health")
        assert (reply.status_code, reply.json()["status"]) == (503, "starting")
        problem(segment(site), 503, "the server is starting")
        model.may.set()
        until(lambda: site.http.get("/v1/health").status_code == 200)
        reply = site.http.get("/v1/health").json()
        check(site, reply, "Health")
        assert reply["status"] == "ready"


def test_what_is_asked_is_answered_at_the_end(model: Held) -> None:
    ended = threading.Event()
    with holding(model), ThreadPoolExecutor(2) as pool:

        def serve_until_closing() -> None:
            with api_of(model) as site:
                started.append(site)
                closing.wait(60)
            ended.set()

        started, closing = list[ApiSite](), threading.Event()
        model.may.set()
        pool.submit(serve_until_closing)
        until(lambda: bool(started))
        model.may.clear()
        model.asked.clear()
        (site,) = started
        last = pool.submit(segment, site)
        until(model.asked.is_set)
        closing.set()
        until(lambda: refuses(site))
        assert not ended.is_set()
        model.may.set()
        assert last.result().status_code == 200
        assert ended.wait(60)


def refuses(site: ApiSite) -> bool:
    try:
        socket.create_connection(site.service_address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_model_that_cannot_warm_up_ends_the_server(model: Held) -> None:
    class Broken(Held):
        def encode_images(self, images: Any) -> Any:
            raise MemoryError("no room")

    with listen("127.0.0.1", 0) as listener, pytest.raises(MemoryError, match="room"):
        serve(Broken(model._loaded), SETTINGS, listener)


def test_metrics_count(site: ApiSite) -> None:
    def count(name: str) -> float:
        text = site.http.get("/metrics").text
        line = re.search(rf"^{re.escape(name)} ([\d.e+]+)$", text, re.MULTILINE)
        return float(line[1]) if line else 0.0

    name = 'unires_requests_total{path="/v1/segment",status="200"}'
    before, batches = count(name), count("unires_batch_requests_count")
    segment(site)
    assert count(name) == before + 1
    assert count("unires_batch_requests_count") == batches + 1
    about = site.http.get("/v1/model").json()
    check(site, about, "ModelAnswer")
    assert about["max_sentences"] == 4


def test_the_docs_page_names_no_other_host(site: ApiSite) -> None:
    pytest.importorskip("fastapi_offline")
    page = site.http.get("/", follow_redirects=True)
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links and not [x for x in links if re.match(r"(https?:)?//", x)]
    assert not re.search(r"https?://", page.text)
    for link in links:
        if not link.startswith("data:"):
            assert site.http.get(f"/{link}").status_code == 200


def test_openapi_is_whole(site: ApiSite) -> None:
    openapi = site.http.get("/openapi.json").json()
    paths = {"/v1/segment", "/v1/encode", "/v1/health", "/v1/model", "/metrics"}
    assert set(openapi["paths"]) == paths
    asked = openapi["paths"]["/v1/segment"]["post"]["requestBody"]["content"]
    jsonschema.validate(GOOD, asked["application/json"]["schema"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(GOOD | {"masks": 3}, asked["application/json"]["schema"])
    image = asked["multipart/form-data"]["schema"]["properties"]["image"]
    assert image["format"] == "binary"


def blocks(language: str) -> list[str]:
    """The code of docs/serve.md in a language."""
    page = (ROOT / "docs" / "serve.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl (apt-get install curl)")
@pytest.mark.parametrize("block", blocks("bash"))
def test_the_documented_commands_work(
    site: ApiSite, block: str, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(Image.fromarray(noise(0)), "JPEG"))
    done = subprocess.run(
        [
            "bash",
            "-ec",
            block.replace("curl -s", "curl -sf").replace(HERE, site.address),
        ],
        cwd=tmp_path,
        env=os.environ | {"UNIRES_TOKEN": "secret"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert ("answers" if "/v1/segment" in block else "fingerprint") in done.stdout


def test_the_documented_python_works(site: ApiSite, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(Image.fromarray(noise(0)), "JPEG"))
    (code,) = blocks("python")
    code = code.replace(HERE, site.address).replace("timeout=60", "timeout=600")
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(40, 56)") == 2
