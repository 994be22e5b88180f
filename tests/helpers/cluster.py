"""Scripts as a cluster starts them: several processes, each with devices of its own."""

import subprocess
import sys
from pathlib import Path

from helpers.paths import ROOT
from helpers.programs import compiling_once, free_port


def start(
    script: str,
    argv: list[str],
    processes: int,
    devices_each: int = 1,
    *,
    cache: Path,
    logs: Path,
) -> list[subprocess.Popen[bytes]]:
    """`python <script> <argv>` in each process of a cluster, the main one first.

    They share compiled programs through `cache`. What the i-th says goes on at the end
    of the file `<i>.log` of the folder `logs`. With one process there is no cluster.
    """
    port = free_port()
    return [
        _start([str(ROOT / script), *argv], env | _devices(devices_each, env), log)
        for i in range(processes)
        for log in [logs / f"{i}.log"]
        for env in [compiling_once(cache) | _place(i, processes, port)]
    ]


def _place(index: int, processes: int, port: int) -> dict[str, str]:
    """The environment that Slurm gives to one process of a job on this machine."""
    if processes == 1:
        return {}
    return {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(processes),
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
        "SLURM_STEP_NUM_NODES": "1",
        "JAX_COORDINATOR_PORT": str(port),
    }


def _devices(count: int, env: dict[str, str]) -> dict[str, str]:
    flag = f"--xla_force_host_platform_device_count={count}"
    return {"XLA_FLAGS": f"{env['XLA_FLAGS']} {flag}"}


def _start(argv: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *argv],
            cwd=log.parent,
            env=env,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(processes: list[subprocess.Popen[bytes]], seconds: float = 900) -> list[int]:
    """Their exit codes. What has not ended after so many seconds is killed."""
    try:
        return [process.wait(seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run(
    script: str,
    argv: list[str],
    processes: int,
    devices_each: int = 1,
    *,
    cache: Path,
    logs: Path,
) -> None:
    """`start` to an end that must be good. Raises AssertionError with what was said."""
    started = start(script, argv, processes, devices_each, cache=cache, logs=logs)
    codes = finish(started)
    said = [(logs / f"{i}.log").read_text()[-3000:] for i in range(processes)]
    assert codes == [0] * processes, "\n".join([str(codes), *said])
