"""The launchers print the command they would run, and it is the right one."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.paths import ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = sorted(p for p in LAUNCH.iterdir() if p.name != "common.sh")
PROGRAM = ["train.py", "--config=configs/unires.py:l14", "--workdir=gs://b/runs/a"]
PROGRAM.append("--config.data.lengths=(16, 32)")


def launch(name: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LAUNCH / name), *arguments],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def printed(name: str, *arguments: str, **env: str) -> list[list[str]]:
    """The words of each command that a launcher would run."""
    done = launch(name, *arguments, "--dry_run", "--", *PROGRAM, **env)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def remote(words: list[str]) -> str:
    """The command that the last word hands on."""
    return words[-1].removeprefix("--command=")


def test_every_host_of_a_tpu_slice_runs_it() -> None:
    (words,) = printed("tpu_slice.sh", "--name=slice", "--zone=us-west4-a")
    ssh = "gcloud compute tpus tpu-vm ssh slice --zone=us-west4-a --worker=all"
    assert words[:-1] == ssh.split()
    assert shlex.split(remote(words)) == ["cd", "unires_jax", "&&", "python3", *PROGRAM]
    (words,) = printed(
        "tpu_slice.sh", "--name=s", "--zone=z", "--project=p", "--cache=gs://b/cache"
    )
    assert "--project=p" in words
    assert "&& JAX_COMPILATION_CACHE_DIR=gs://b/cache python3" in remote(words)


def test_gke_takes_slices_or_nodes() -> None:
    common = ("--workload=w", "--cluster=c", "--image=i")
    (words,) = printed("gke.sh", *common, "--device=v5litepod-256", "--slices=2")
    assert words[:3] == ["xpk", "workload", "create"]
    options = {"--tpu-type=v5litepod-256", "--num-slices=2", "--docker-image=i"}
    options |= {"--workload=w", "--cluster=c", "--restart-on-exit-codes=75"}
    assert options <= set(words)
    assert shlex.split(remote(words)) == ["python", *PROGRAM]
    (words,) = printed("gke.sh", *common, "--device=h100-80gb-8", "--nodes=2")
    assert {"--device-type=h100-80gb-8", "--num-nodes=2"} <= set(words)
    assert '"' not in remote(words)  # xpk puts it between such
    pod = {"JAX_COORDINATOR_ADDRESS": "w-0-0.w", "JAX_COORDINATOR_PORT": "6002"}
    pod |= {"NNODES": "2", "NODE_RANK": "1", "PATH": os.environ["PATH"]}
    shell = f"python() {{ printf '%s\\n' \"$@\"; }}; {remote(words)}"
    seen = subprocess.run(
        ["bash", "-c", shell], env=pod, capture_output=True, text=True
    ).stdout.splitlines()
    who = ["--coordinator=w-0-0.w:6002", "--processes=2", "--process=1"]
    assert seen == [*PROGRAM, *who]


def test_a_node_runs_one_process_or_one_for_each_gpu() -> None:
    assert printed("gpu_node.sh") == [["python", *PROGRAM]]
    (cached,) = printed("gpu_node.sh", "--cache=/cache")
    assert cached[:2] == ["env", "JAX_COMPILATION_CACHE_DIR=/cache"]
    for i, words in enumerate(printed("gpu_node.sh", "--processes=4", "--port=99")):
        assert words[:3] == ["env", f"CUDA_VISIBLE_DEVICES={i}", "python"]
        who = ["--coordinator=localhost:99", "--processes=4", f"--process={i}"]
        assert words[3:] == [*PROGRAM, *who]


def test_a_node_ends_as_its_processes_do(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys, time\n"
        "codes = dict(zip(['--process=0', '--process=1'], sys.argv[1:3]))\n"
        "stop = lambda *_: (time.sleep(0.5), sys.exit(int(codes[sys.argv[-1]])))\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "os.write(1, b'up\\n')\n"
        "time.sleep(60)\n"
    )
    node = [str(LAUNCH / "gpu_node.sh"), "--processes=2", f"--python={sys.executable}"]
    for codes, expected in ((("75", "75"), 75), (("75", "3"), 3), (("0", "75"), 75)):
        with subprocess.Popen(
            [*node, "--", str(program), *codes], stdout=subprocess.PIPE, text=True
        ) as started:
            assert started.stdout is not None
            assert started.stdout.readline() == started.stdout.readline() == "up\n"
            time.sleep(0.1)
            started.send_signal(signal.SIGTERM)
            assert started.wait(30) == expected


@pytest.mark.parametrize(("code", "queued_again"), [(0, False), (1, False), (75, True)])
def test_a_slurm_job_that_was_stopped_is_queued_again(
    tmp_path: Path, code: int, queued_again: bool
) -> None:
    calls = tmp_path / "calls"
    for name, status in (("srun", code), ("scontrol", 0)):
        stub = tmp_path / name
        stub.write_text(f'#!/bin/sh\necho {name} "$@" >> {calls}\nexit {status}\n')
        stub.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    job = {"PATH": path, "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "12"}
    done = launch("slurm.sbatch", *PROGRAM, **job)
    assert done.returncode == code
    first, *others = calls.read_text().splitlines()
    options = "srun --kill-on-bad-exit=0 --cpus-per-task=12 python"
    assert first == " ".join([options, *PROGRAM])
    assert others == (["scontrol requeue 7"] if queued_again else [])
    dry = launch("slurm.sbatch", "--dry_run", *PROGRAM, **job).stdout
    assert shlex.split(dry) == [*options.split(), *PROGRAM]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_help_and_wrong_options(script: Path) -> None:
    asked = launch(script.name, "--help")
    assert asked.returncode == 0 and "--dry_run" in asked.stdout
    assert not re.search(r"^#|SBATCH|set -", asked.stdout, re.M)
    if script.suffix == ".sh":
        for arguments in (("--nonsense=1", "--", "train.py"), ("--dry_run",), ("x",)):
            wrong = launch(script.name, *arguments)
            assert wrong.returncode == 2 and wrong.stderr.startswith("error: ")
