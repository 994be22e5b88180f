"""train.py and evaluate.py on `s3://` alone, served by moto, as a program of its own.

    PYTHONPATH=<root>:<root>/tests python run_on_s3.py

The current folder must be empty, and is at the end.
"""

import os
import tempfile
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from helpers import programs, tiny_run
from helpers.paths import ROOT

RUN = "s3://bucket/run"


def main() -> None:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    with tempfile.TemporaryDirectory() as folder:
        _run(client, Path(folder))
    server.stop()
    print("ok")


def _run(client: object, folder: Path) -> None:
    data = tiny_run.write_data(folder / "data")
    for file in data.iterdir():
        client.upload_file(str(file), "bucket", f"data/tiny/1.0.0/{file.name}")
    config = tiny_run.run_config(
        Path("unused"),
        data__dir="s3://bucket/data",
        data__train=("tiny:train",),
        data__cache=str(folder / "copies"),
        data__workers=1,
        eval__splits=("tiny:val",),
        train__steps=4,
        train__checkpoint_every=2,
    )
    file = tiny_run.config_file(folder, config)
    client.upload_file(str(file), "bucket", "configs/tiny.py")
    env = programs.compiling_once(folder / "jax")
    train = ("train.py", "--config=s3://bucket/configs/tiny.py")
    for steps in (2, 4):
        out = _start(*train, f"--config.train.steps={steps}", **env)
        assert f"from step {steps - 2} to {steps}" in out, out
    _start("evaluate.py", **env)
    listed = client.list_objects_v2(Bucket="bucket", Prefix="run/")["Contents"]
    names = {o["Key"].removeprefix("run/") for o in listed}
    results = ("metrics.jsonl", "config.json", "evaluation/metrics.json")
    assert {*results, "checkpoints/4/commit_success.txt"} <= names, names
    assert any("tfevents" in name for name in names), names


def _start(program: str, *flags: str, **env: str) -> str:
    done = programs.run(ROOT / program, *flags, f"--workdir={RUN}", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(Path.cwd().iterdir()) == []
    return done.stdout


if __name__ == "__main__":
    main()
