"""Dockerfile and compose.yaml without docker: read, and their steps run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import yaml
from helpers.paths import ROOT
from helpers.programs import free_port


class Step(NamedTuple):
    """An instruction of a Dockerfile."""

    word: str  # RUN
    rest: str


def steps() -> list[Step]:
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [Step(*line.split(" ", 1)) for line in lines.splitlines() if line]


def last(word: str) -> str:
    return [step.rest for step in steps() if step.word == word][-1]


def command(text: str) -> list[str]:
    """A list of a Dockerfile's, as JSON."""
    value = json.loads(text[text.index("[") :])
    assert all(isinstance(x, str) for x in value)
    return list(value)


def test_the_image_is_what_one_expects_of_a_server() -> None:
    words = [step.word for step in steps()]
    known = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE"}
    assert set(words) <= known | {"STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"}
    assert int(last("USER").split(":")[0]) > 0 and words.index("USER") > max(
        i for i, word in enumerate(words) if word == "RUN"
    )
    assert command(last("ENTRYPOINT"))[:2] == ["unires", "serve"]
    assert last("EXPOSE") == "8000" and "/v1/health" in last("HEALTHCHECK")
    kept = (ROOT / ".dockerignore").read_text().split("\n!")[1:]
    for step in steps():
        if step.word == "COPY" and not step.rest.startswith("--from"):
            for name in step.rest.split()[:-1]:
                assert (ROOT / name).exists() and not name.startswith("/")
                assert name.split("/")[0] in "\n".join(kept)


def test_compose_is_this_server_s() -> None:
    content = yaml.safe_load((ROOT / "compose.yaml").read_text())
    service = content["services"]["unires"]
    assert service["ports"] == ["127.0.0.1:8000:8000"] and service["read_only"]
    assert set(service["environment"]) == {"UNIRES_TOKEN"}
    (cache,) = service["volumes"]
    name, place = cache.split(":")
    variables = " ".join(step.rest for step in steps() if step.word == "ENV").split()
    assert name in content["volumes"] and f"XDG_CACHE_HOME={place}" in variables
    assert int(service["stop_grace_period"].rstrip("s")) > 2 * 20


@pytest.mark.slow
def test_its_steps_give_a_server_that_answers(tmp_path: Path) -> None:
    """Each stage in a folder and an environment of its own; users are not changed."""
    stages: dict[str, Path] = {}
    variables: dict[str, str] = {}
    root = place = tmp_path

    def environment() -> dict[str, str]:
        names = ("PATH", "HOME", "PIP_INDEX_URL", "PIP_CONFIG_FILE")
        kept = {k: v for k, v in os.environ.items() if k in names}
        path = f"{root / 'venv' / 'bin'}{os.pathsep}{kept['PATH']}"
        return kept | {"PATH": path, "JAX_PLATFORMS": "cpu"} | variables

    for word, rest in steps():
        match word:
            case "FROM":
                name = rest.partition(" AS ")[2] or "last"
                place = root = stages[name] = tmp_path / name
                root.mkdir()
                subprocess.run(
                    [sys.executable, "-m", "venv", root / "venv"], check=True
                )
            case "WORKDIR":
                place = root / rest.lstrip("/")
                place.mkdir(parents=True)
            case "ARG":
                variables |= dict([rest.split("=")])
            case "ENV":
                pairs = (x.split("=", 1) for x in shlex.split(rest))
                variables |= {k: re.sub("^/", f"{root}/", v) for k, v in pairs}
            case "COPY":
                copy(rest, stages, place)
            case "RUN":
                subprocess.run(
                    rest, shell=True, check=True, cwd=place, env=environment()
                )
    port = free_port()
    argv = [*command(last("ENTRYPOINT")), "--host", "127.0.0.1", "--port", str(port)]
    argv[0] = str(root / "venv" / "bin" / argv[0])
    check = command(last("HEALTHCHECK").partition("CMD")[2])
    check = [x.replace(":8000", f":{port}") for x in check]
    with subprocess.Popen(argv, cwd=place, env=environment()) as server:
        try:
            end = time.monotonic() + 900
            while subprocess.run(check, env=environment(), stderr=-3).returncode:
                assert server.poll() is None and time.monotonic() < end
                time.sleep(1)
            about = httpx.get(f"http://127.0.0.1:{port}/v1/model", timeout=60).json()
            assert about["model"]["name"] == "partworld_full"
        finally:
            server.terminate()
            assert server.wait(60) == 0


def copy(rest: str, stages: dict[str, Path], place: Path) -> None:
    """COPY, of this folder or of another stage."""
    source = ROOT
    if match := re.match(r"--from=(\w+) ", rest):
        source, rest = stages[match[1]], rest[match.end() :]
    *names, target = rest.split()
    for name in names:
        origin, goal = source / name.lstrip("/"), place / target
        if origin.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(origin, goal, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(origin, goal / origin.name if target.endswith("/") else goal)
