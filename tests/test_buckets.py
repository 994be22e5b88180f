"""Workdir, data and configs in buckets (a stand-in); nothing in the current folder."""

import importlib.util
import json
import os
import pickle
from pathlib import Path

import fsspec
import numpy as np
import pytest
from helpers import programs, tiny_run
from helpers.bucket_server import Store
from helpers.buckets import upload
from helpers.paths import HELPERS, ROOT
from helpers.tiny import tiny_config

from unires_jax import app, files
from unires_jax.checkpoint import Checkpoints, describe, find_checkpoint, load_params
from unires_jax.config import Config
from unires_jax.data import copies, leakage, pipeline, prepared
from unires_jax.data.unusable import UnusableRecords
from unires_jax.errors import CheckpointError, ConfigError, DataError
from unires_jax.evaluation import predictions
from unires_jax.export.command import export
from unires_jax.inference.exported import is_export
from unires_jax.prepare import build
from unires_jax.training.metric_writer import MetricWriter

RUN = "gs://bucket/run"


@pytest.fixture(scope="module")
def local_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def data(bucket: Store, local_data: Path) -> str:
    """The versioned folder, in the bucket."""
    return upload(bucket, local_data, "data/tiny/1.0.0")


def shards_read(bucket: Store) -> list[str]:
    return sorted(name for name in bucket.read if "array_record" in name)


def test_a_run_leaves_nothing_in_the_current_folder(
    bucket: Store,
    data: str,
    served: tuple[Store, dict[str, str]],
    tmp_path: Path,
) -> None:
    config = tiny_run.run_config(
        Path("unused"),
        data__dir="gs://bucket/data",
        data__train=("tiny:train",),
        data__cache=str(tmp_path / "copies"),
        eval__splits=("tiny:val",),
        train__steps=2,
    )
    file = tiny_run.config_file(tmp_path, config)
    bucket.put("bucket", "configs/tiny.py", file.read_bytes())
    env = programs.compiling_once(tmp_path / "jax") | served[1]

    def start(program: str, *flags: str) -> str:
        done = programs.run(ROOT / program, *flags, f"--workdir={RUN}", **env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(Path.cwd().iterdir()) == []
        return done.stdout

    assert RUN in start("train.py", "--config=gs://bucket/configs/tiny.py")
    assert RUN in start("evaluate.py")
    names = [n.removeprefix("run/") for n in bucket.names() if n.startswith("run/")]
    text, _ = bucket.objects["bucket", "run/metrics.jsonl"]
    lines = [json.loads(line) for line in text.splitlines()]
    assert [x["step"] for x in lines if "train/loss" in x] == [1, 2]
    assert [x["step"] for x in lines if "eval/pooled/mIoU" in x] == [2]
    assert sum("tfevents" in name for name in names) == 1
    assert "checkpoints/2/commit_success.txt" in names and "config.json" in names
    results = ("predictions.jsonl", "metrics.json", "report.html", "gallery.jpg")
    evaluation = {n for n in names if n.startswith("evaluation/")}
    assert evaluation == {f"evaluation/{name}" for name in results}
    # Of the data each file was copied once for both programs.
    assert len(list((tmp_path / "copies").rglob("*array_record*"))) == 2
    sizes = {n: len(bucket.objects["bucket", n][0]) for n in shards_read(bucket)}
    assert sizes and {n: bucket.read[n] for n in sizes} == sizes


def test_a_config_reads_the_files_beside_it(bucket: Store) -> None:
    bucket.put("bucket", "configs/base.py", b"STEPS = 7\n")
    text = (
        "import runpy\nfrom pathlib import Path\nfrom unires_jax.config import *\n\n"
        "def get_config(name):\n"
        "    path = Path(__file__).with_name('base.py')\n"
        "    steps = runpy.run_path(str(path))['STEPS']\n"
        "    return Config(name=name, train=TrainConfig(steps=steps))\n"
    )
    bucket.put("bucket", "configs/tiny.py", text.encode())
    config = app.load_config("gs://bucket/configs/tiny.py:one:two")
    assert (config.name, config.train.steps) == ("one:two", 7)
    argv = ["train.py", "--config=gs://bucket/configs/tiny.py:x", "--config.seed=5"]
    config, _ = app.parse_config(argv)
    assert (config.name, config.seed) == ("x", 5)
    assert list(Path.cwd().iterdir()) == []


def test_a_run_of_another_is_started_from_a_bucket(bucket: Store) -> None:
    config = tiny_config(train__keep=2)
    state = {"params": {"a": {0: np.arange(3.0)}}, "step": np.array(1)}
    with Checkpoints(RUN, config.train) as checkpoints:
        for step, miou in ((1, 0.5), (2, 0.9), (3, 0.1)):
            state["params"]["a"][0] = np.full(3, float(step))
            checkpoints.save(step, state, describe(config, "{}", {}), miou)
    assert str(find_checkpoint(RUN)) == f"{RUN}/checkpoints/2"
    assert str(find_checkpoint(RUN, "last")) == f"{RUN}/checkpoints/3"
    tree, meta = load_params(RUN, "params")
    assert tree["a"][0].tolist() == [2, 2, 2] and meta["tokenizer"] == "{}"
    # A save that was killed leaves a folder without the mark of a complete one.
    del bucket.objects["bucket", "run/checkpoints/3/commit_success.txt"]
    assert str(find_checkpoint(RUN, "last")) == f"{RUN}/checkpoints/2"
    with Checkpoints(RUN, config.train) as checkpoints:
        assert str(checkpoints.latest) == f"{RUN}/checkpoints/2"
        restored = checkpoints.restore(state)
        assert restored["params"]["a"][0].tolist() == [2, 2, 2]
    assert list(Path.cwd().iterdir()) == []
    with pytest.raises(CheckpointError, match="gs://bucket/other: no such folder"):
        find_checkpoint("gs://bucket/other")


def test_metrics_are_cut_and_go_on(bucket: Store) -> None:
    for step in (0, 2):
        writer = MetricWriter("s3://bucket/run", step)
        for at in range(step + 1, step + 4):
            writer.scalars(at, {"loss": float(10 * step + at)})
        writer.close()
    lines = bucket.objects["bucket", "run/metrics.jsonl"][0].decode().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses == [1, 2, 23, 24, 25]
    events = [n for n in bucket.names() if "tfevents" in n]
    assert events and all(b"loss" in bucket.objects["bucket", n][0] for n in events)
    unusable = UnusableRecords(Config(), 10_000, RUN)
    unusable.add("image 7", "truncated")
    again = UnusableRecords(Config(), 10_000, RUN)
    again.add("image 7", "truncated")
    again.add("image 8", "truncated")
    text = bucket.objects["bucket", "run/rejected.jsonl"][0].decode()
    assert [json.loads(x)["record"] for x in text.splitlines()] == [
        "image 7",
        "image 8",
    ]
    assert list(Path.cwd().iterdir()) == []


def test_records_are_copied_once_and_described_without(
    bucket: Store, data: str, local_data: Path, tmp_path: Path
) -> None:
    split = prepared.open_split("tiny:train", "gs://bucket/data")
    there = prepared.open_split(f"{data}:train")
    assert split == there and split.dataset == "tiny"
    mine = prepared.open_split(f"{local_data}:train")
    assert split.fingerprint() == mine.fingerprint()
    config = tiny_config(data__train=(f"{data}:train",))
    assert pipeline.run_tokenizer(config).vocab_size
    assert not shards_read(bucket)
    assert split[3] == mine[3] and len(split) == len(mine)
    (copy,) = (tmp_path / "cache").rglob("tiny-train.array_record-*")
    assert not list((tmp_path / "cache").rglob("tiny-val.array_record-*"))
    bucket.read.clear()
    assert there[0] == mine[0]
    assert not shards_read(bucket)
    carried = pickle.dumps(split)  # to a reader process
    copy.write_bytes(b"cut")
    assert prepared.open_split(f"{data}:train")[0] == mine[0]
    assert shards_read(bucket) and copy.stat().st_size > 3
    bucket.objects.clear()
    assert pickle.loads(carried)[1] == mine[1]


def test_excluded_splits_are_not_copied(bucket: Store, data: str) -> None:
    """Their COCO ids are beside them."""
    val = prepared.open_split(f"{data}:val")
    name = f"data/tiny/1.0.0/coco_ids-val-{val.fingerprint()}.npy"
    file = Path("ids.npy")
    np.save(file, np.array([1, 2, 3, 4]))
    bucket.put("bucket", name, file.read_bytes())
    file.unlink()
    assert leakage.coco_ids(val).tolist() == [1, 2, 3, 4]
    assert not shards_read(bucket)


def test_a_disk_without_room(bucket: Store, data: str, monkeypatch, tmp_path) -> None:
    free = copies.shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda _: free)
    with pytest.raises(DataError, match=r"0\.0 GB free.*data\.cache.*mount the bucket"):
        prepared.open_split(f"{data}:train")[0]
    assert not list((tmp_path / "cache").rglob("*array_record*"))


@pytest.mark.parametrize("place", ["az://b/run", "gs:/b/run", "gs://", "http://b/x"])
def test_other_places_are_refused(place: str) -> None:
    for named in (place, Path(place)) if place != "gs://" else (place,):
        with pytest.raises(
            ConfigError, match=r"expected a path of this machine, or gs:"
        ):
            files.locate(named)


def test_a_library_that_lacks_is_named(monkeypatch) -> None:
    def absent(scheme: str) -> None:
        raise ImportError(f"no client of {scheme}")

    monkeypatch.setattr(fsspec, "get_filesystem_class", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    files._require_library.cache_clear()
    with pytest.raises(
        ConfigError, match=r"gs:// needs pip install 'unires_jax\[bucket\]'"
    ):
        files.locate(RUN)
    files._require_library.cache_clear()


def test_what_must_be_here_is_refused_and_nothing_made(bucket: Store) -> None:
    refused = "expected a path of this machine, found a bucket; copy it"
    with pytest.raises(ConfigError, match=refused):
        export(RUN, "orbax", "gs://bucket/out")
    with pytest.raises(ConfigError, match=refused):
        build.build("partworld", "gs://bucket/data")
    with pytest.raises(ConfigError, match=refused):
        copies.cache_folder(RUN)
    assert not is_export(RUN)
    with pytest.raises(ConfigError, match=r"gs://bucket/none\.py: no such file"):
        app.load_config("gs://bucket/none.py:argument")
    bucket.put("bucket", "bad.py", b"def get_config():\n    return 1 / 0\n")
    with pytest.raises(ConfigError, match=r"gs://bucket/bad.py, line 2: ZeroDivision"):
        app.load_config("gs://bucket/bad.py")
    with pytest.raises(DataError, match=r"gs://bucket/p\.jsonl"):
        predictions.read("gs://bucket/p.jsonl")
    assert list(Path.cwd().iterdir()) == []


def test_arrays_on_s3_are_addressed_there(monkeypatch) -> None:
    from orbax.checkpoint._src.serialization import tensorstore_utils

    from unires_jax import orbax_s3

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    orbax_s3.enable()
    build_spec = tensorstore_utils.build_kvstore_tspec
    spec = build_spec("s3://bucket/run/state", "a", use_ocdbt=True)
    base = {"driver": "s3", "bucket": "bucket", "endpoint": "http://127.0.0.1:1"}
    assert spec["driver"] == "ocdbt" and base.items() <= spec["base"].items()
    assert spec["base"]["path"].rstrip("/") == "run/state"
    spec = build_spec("s3://bucket/run/state", "_sharding", use_ocdbt=False)
    assert base.items() <= spec.items() and spec["path"] == "run/state/_sharding"
    assert build_spec("/run/state", "a")["base"]["driver"] == "file"


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("moto", "boto3", "s3fs"))),
    reason="needs pip install moto[server] and unires_jax[bucket]",
)
def test_a_run_on_s3(tmp_path: Path) -> None:
    """s3fs and tensorstore's driver against a server of S3's own interface."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    done = programs.run(HELPERS / "run_on_s3.py", cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 0 and done.stdout.endswith("ok\n"), done.stderr
