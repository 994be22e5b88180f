"""What two real processes of a cluster tell each other, and what one tells itself."""

import os
import socket
import subprocess
import sys

import numpy as np
from helpers.paths import ROOT

from unires_jax import hosts

WORKER = """
import sys
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from unires_jax import hosts

jax.config.update("jax_cpu_collectives_implementation", "gloo")
port, me = map(int, sys.argv[1:])
jax.distributed.initialize(f"localhost:{port}", 2, me)
assert hosts.shard() == (me, 2)
assert hosts.is_main() == (me == 0) and not hosts.is_alone()
assert hosts.gather_bytes(b"long" * 9 if me else b"") == [b"", b"long" * 9]
mesh = jax.make_mesh((2,), ("x",), axis_types=(AxisType.Auto,))
split = NamedSharding(mesh, PartitionSpec("x"))
rows = np.full((1, 3), me + 5)
part = jax.make_array_from_process_local_data(split, rows)
whole = hosts.gather_arrays({"a": part})["a"]
assert type(whole) is np.ndarray and whole.tolist() == [[5] * 3, [6] * 3]
print("ok")
"""


def test_two_processes() -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)  # one device a process
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(port), str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        for i in range(2)
    ]
    outputs = [w.communicate(timeout=120)[0] for w in workers]
    assert all(o.endswith("ok\n") for o in outputs), outputs


def test_one_process_is_the_whole_run() -> None:
    assert hosts.shard() == (0, 1) and hosts.is_main() and hosts.is_alone()
    assert hosts.gather_bytes(b"x") == [b"x"]
    tree = {"a": np.ones(2)}
    assert hosts.gather_arrays(tree) is tree
