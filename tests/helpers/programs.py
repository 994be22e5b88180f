"""Programs as a user starts them: processes of their own, their output as text."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from helpers.paths import ROOT

JOIN = """
import sys
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
me = int(sys.argv[2])
jax.distributed.initialize("localhost:" + sys.argv[1], 2, me)
"""


def run(
    *argv: object, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, to its end, however it ends."""
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=3600,  # against hanging; a busy machine takes its time
    )


def compiling_once(cache: Path) -> dict[str, str]:
    """The environment of runs that share their compiled programs."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def check_in_two_processes(code: str, seconds: int = 120) -> None:
    """Run the code in both processes of a cluster, as number `me`, one device each."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    env = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"{JOIN}{code}\nprint('ok')", str(port), str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
        )
        for i in range(2)
    ]
    outputs = [process.communicate(timeout=seconds)[0] for process in processes]
    assert all(output.endswith("ok\n") for output in outputs), outputs


def at_once(act: Callable[[int], object], count: int) -> None:
    """Call `act` with 0, 1, ... in as many threads; what one raises is raised."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(act, range(count)))


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended (an orphan may wait to be reaped)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
