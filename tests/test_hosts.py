"""What two real processes of a cluster tell each other, and what one tells itself."""

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.programs import check_in_two_processes, free_port, run

from unires_jax import hosts

TOGETHER = """
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from unires_jax import hosts

assert hosts.shard() == (me, 2)
assert hosts.is_main() == (me == 0) and not hosts.is_alone()
assert hosts.gather_bytes(b"long" * 9 if me else b"") == [b"", b"long" * 9]
assert hosts.gather_bytes(b"") == [b"", b""]
hosts.PIECE = 7  # sent in several
assert hosts.gather_bytes(b"long" * (9 if me else 2)) == [b"long" * 2, b"long" * 9]
mesh = jax.make_mesh((2,), ("x",), axis_types=(AxisType.Auto,))
split = NamedSharding(mesh, PartitionSpec("x"))
rows = np.full((1, 3), me + 5)
part = jax.make_array_from_process_local_data(split, rows)
assert (hosts.member(), hosts.member_count()) == (me, 2)
hosts.post(f"host/{me}", "ab"[me])
assert hosts.from_main("greeting", f"from {me}") == "from 0"
assert hosts.consult("same", "x", lambda texts: "") == ""
names = lambda texts: "".join(texts[i] for i in sorted(texts)) if len(texts) > 1 else ""
assert hosts.consult("all", str(me), names) == "01"
if me == 0:
    silent = hosts.consult("late", "", lambda texts: "", seconds=1)
    assert silent == "process 1 (b) said nothing within 1 s", silent
hosts.meet("here")
mine = np.full(2, me)
tree = hosts.gather_arrays({"a": part, "b": mine})
whole = tree["a"]
assert type(whole) is np.ndarray and whole.tolist() == [[5] * 3, [6] * 3]
assert tree["b"] is mine  # no part of anything
"""


def test_two_processes() -> None:
    check_in_two_processes(TOGETHER)


def test_one_process_is_the_whole_run() -> None:
    assert hosts.shard() == (0, 1) and hosts.is_main() and hosts.is_alone()
    assert hosts.gather_bytes(b"x") == [b"x"]
    assert (hosts.member(), hosts.member_count()) == (0, 1)
    assert hosts.from_main("greeting", "mine") == "mine"
    assert hosts.consult("all", "x", lambda texts: texts[0]) == "x"
    hosts.meet("here")
    tree = {"a": np.ones(2)}
    assert hosts.gather_arrays(tree)["a"] is tree["a"]


@pytest.mark.parametrize("process", [0, 1])
def test_one_that_never_comes_is_waited_for_so_long(process: int) -> None:
    place = f"localhost:{free_port()}"
    cluster = [f"--coordinator={place}", "--processes=2", f"--process={process}"]
    alone = run(
        ROOT / "evaluate.py", *cluster, "--join_seconds=1", PYTHONPATH=str(ROOT)
    )
    assert alone.returncode == 1
    assert "the 2 processes" in alone.stderr and place in alone.stderr
    assert "within 1 s" in alone.stderr and "--join_seconds" in alone.stderr
    assert "Traceback" not in alone.stderr and "***" not in alone.stderr
