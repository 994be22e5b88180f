"""Fixtures: a bucket of the stand-in, known to this process and to those it starts."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import bucket_client, bucket_server
from helpers.paths import ROOT
from unires_jax.data import prepared


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[bucket_server.Store, dict[str, str]]]:
    """The store, and the environment in which `gs://` and `s3://` mean it."""
    stand_in = bucket_client.install(tmp_path_factory.mktemp("stand_in"))
    path = os.pathsep.join(map(str, (stand_in, ROOT, ROOT / "tests")))
    with bucket_server.serving() as (store, address), pytest.MonkeyPatch.context() as m:
        env = {
            bucket_client.ADDRESS: address,
            "TENSORSTORE_GCS_HTTP_URL": address,  # read once in a process
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
            "EPATH_USE_TF": "false",  # where TensorFlow is installed
        }
        for name, value in env.items():
            m.setenv(name, value)
        m.syspath_prepend(str(stand_in))
        bucket_client.register()
        yield store, env | {"PYTHONPATH": path}


@pytest.fixture
def bucket(
    served: tuple[bucket_server.Store, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> bucket_server.Store:
    """The store, empty, with the current folder an empty one and a cache of its own."""
    store, _ = served
    store.objects.clear()
    store.read.clear()
    prepared._shards_in_bucket.cache_clear()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return store


def upload(store: bucket_server.Store, folder: Path, name: str) -> str:
    """Put a folder's files into the bucket under a name; its location."""
    for file in (p for p in folder.rglob("*") if p.is_file()):
        place = f"{name}/{file.relative_to(folder).as_posix()}"
        store.put("bucket", place, file.read_bytes())
    return f"gs://bucket/{name}"
