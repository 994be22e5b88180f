"""What is read off a compiled program, against a count by hand."""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from unires_jax.aot.program import Collective, Program, Value, values_of
from unires_jax.config import MeshConfig
from unires_jax.errors import UserError
from unires_jax.mesh import make_mesh

ROUNDS = 5


@pytest.fixture(scope="module")
def program() -> Program:
    """A gather in each of five rounds, then a sum scattered and one for all."""

    def share(x: Any, w: Any) -> Any:
        def turn(x: Any, _: None) -> Any:
            whole = jax.lax.all_gather(w * x[0, 0], "fsdp", tiled=True)
            return x @ whole, None

        x, _ = jax.lax.scan(turn, x, None, length=ROUNDS)
        shares = jax.lax.psum_scatter(x, "fsdp", scatter_dimension=1, tiled=True)
        return shares, jax.lax.psum(x.sum(0), ("data", "fsdp"))

    batch, shards = P(("data", "fsdp")), P("fsdp")
    function = jax.shard_map(
        share,
        mesh=make_mesh(MeshConfig(fsdp=4)),
        in_specs=(batch, shards),
        out_specs=(batch, P()),
    )
    arrays = jnp.zeros((16, 32)), jnp.zeros((32, 32))
    return Program(jax.jit(function).lower(*arrays).compile().as_text())


def test_collectives_are_those_of_the_program(program: Program) -> None:
    collectives = {c.kind: c for c in program.collectives()}
    gather, scatter = collectives["all-gather"], collectives["reduce-scatter"]
    total = collectives["all-reduce"]
    assert (gather.whole.dtype, gather.whole.shape) == ("f32", (32, 32))
    assert (gather.devices, gather.times) == (4, ROUNDS)
    assert gather.bytes == ROUNDS * 32 * 32 * 4
    # Two of the sixteen rows a device; the whole is what goes in, not what comes out.
    assert scatter.whole.shape == (2, 32) and scatter.bytes == 2 * 32 * 4
    assert total.devices == 8 and total.bytes == 2 * 32 * 4  # there and back


def test_loops_are_run_as_often_as_they_turn(program: Program) -> None:
    assert program.runs[program.entry] == 1
    assert ROUNDS in program.runs.values()


def test_the_largest_array_is_first(program: Program) -> None:
    sizes = [value.bytes for value in program.arrays()]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] >= 8 * 32 * 4


# What the TPU compiler prints: joined, started, quantised and in a chip's own memory.
TPU = """HloModule jit_step, is_scheduled=true

%c (p: (s32[], bf16[8,4])) -> pred[] {
  %p = (s32[], bf16[8,4]{1,0}) parameter(0)
  %limit = s32[]{:T(128)} constant(3)
  %i = s32[] get-tuple-element(%p), index=0
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

%body (p: (s32[], bf16[8,4])) -> (s32[], bf16[8,4]) {
  %p = (s32[], bf16[8,4]{1,0}) parameter(0)
  %x = bf16[8,4]{1,0:T(8,128)(2,1)} get-tuple-element(%p), index=1
  %a = (bf16[8,4]{1,0}, bf16[32,4]{1,0:T(8,128)(2,1)S(1)}) all-gather-start(%x), \
replica_groups=[4,4]<=[16], dimensions={0}
  %b = bf16[32,4]{1,0} all-gather-done(%a)
  ROOT %t = (s32[], bf16[8,4]{1,0}) tuple(%p, %x)
}

ENTRY %main (p: bf16[8,4]) -> f32[8,4] {
  %p = bf16[8,4]{1,0} parameter(0)
  %w = (s32[], bf16[8,4]{1,0}) while(%p), condition=%c, body=%body
  %g = (bf16[2,4]{1,0}, f32[6]{0}) reduce-scatter(%p, %q), \
replica_groups={{0,1},{2,3}}, dimensions={0}, to_apply=%add
  %r = f32[8,4]{1,0} all-reduce-start(%p), replica_groups={{0},{1}}, to_apply=%add
  %s = (f8e4m3fn[8,4], f8e4m3fn[8,4], u32[], u32[]) collective-permute-start(%p), \
source_target_pairs={{0,1},{1,0}}
  %x = bf16[8,4]{1,0} all-to-all(%p), replica_groups=[2,8]<=[16], dimensions={0}
  %big = f32[99,99]{1,0:T(8,128)S(1)} copy(%p)
  ROOT %o = f32[8,4]{1,0} copy(%p), metadata={op_name="out[\\'the_end\\']"}
}
"""


def test_started_and_joined_collectives_are_counted_once() -> None:
    counts = Counter(
        (c.kind, c.whole.dtype, c.whole.shape, c.devices, c.times, c.bytes)
        for c in Program(TPU).collectives()
    )
    assert counts == {
        ("all-gather", "bf16", (32, 4), 4, 3, 3 * 32 * 4 * 2): 1,
        ("reduce-scatter", "bf16", (4, 4), 2, 1, 4 * 4 * 2): 1,
        ("reduce-scatter", "f32", (12,), 2, 1, 12 * 4): 1,
        # What each of eight devices sends, a quarter of the way round.
        ("all-to-all", "bf16", (64, 4), 8, 1, 64 * 4 * 2 // 4): 1,
        # Groups of one exchange nothing.
        ("collective-permute", "f8e4m3fn", (8, 4), 2, 1, 8 * 4): 1,
    }


@pytest.mark.parametrize(
    ("groups", "devices"),
    [
        ("{{0,1,2},{3,4,5}}", 3),
        ("[4,8]<=[32]", 8),
        ("[16,2]<=[2,16]T(1,0)", 2),
        ("mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", 4),
        ("mesh['axis_0'=4,'axis_1'=2] {'axis_0','axis_1'}", 8),
        ("mesh['axis_0'=16,'axis_1'=1], device_ids=([4,4]T(1,0)) {'axis_0'}", 16),
        ("mesh['axis_0'=16] {'axis_0':(2)4}", 4),
    ],
)
def test_groups_are_read_however_they_are_written(groups: str, devices: int) -> None:
    text = TPU.replace("[4,4]<=[16]", groups)
    gather = next(c for c in Program(text).collectives() if c.kind == "all-gather")
    assert gather.devices == devices


def test_groups_that_cannot_be_read_are_not_passed_over() -> None:
    with pytest.raises(UserError, match="unknown form"):
        list(Program(TPU.replace("[4,4]<=[16]", "every other")).collectives())


def test_a_collective_spread_over_fusions_is_one() -> None:
    """Pieces of a gather run beside products; a reduction may keep its shares alone."""
    piece = (
        "  %a = bf16[8,4]{1,0} all-gather(%p), replica_groups=[1,2]<=[2], "
        'dimensions={0}, frontend_attributes={chain_id="4"}\n'
    )
    total = "  %r = bf16[6]{0} all-reduce(%p), replica_groups=[1,2]<=[2]\n"
    texts = [f"%f.{i} (p: bf16[4,4]) -> bf16[8,4] {{\n{piece}}}\n" for i in range(3)]
    texts.append(f"%all-reduce-scatter.9 (p: bf16[6]) -> bf16[3] {{\n{total}}}\n")
    called = ("f.0", "f.1", "f.2", "all-reduce-scatter.9")
    calls = [f"  %c.{x} = bf16[8,4] fusion(%p), calls=%{x}\n" for x in called]
    entry = f"ENTRY %m (p: bf16[4,4]) -> bf16[8,4] {{\n{''.join(calls)}}}\n"
    collectives = list(Program("".join([*texts, entry])).collectives())
    assert [(c.kind, c.bytes) for c in collectives] == [
        ("all-gather", 8 * 4 * 2),
        ("reduce-scatter", 6 * 2),
    ]


def test_arrays_outside_the_main_memory_are_no_buffers() -> None:
    arrays = Program(TPU).arrays()
    assert Value("f32", (8, 4), 1, "out['the_end']") in arrays
    assert (99, 99) not in {value.shape for value in arrays}


@pytest.mark.parametrize(
    ("text", "size"),
    [("bf16[3,5]{1,0}", 30), ("pred[7]", 7), ("f32[]", 4), ("s64[2]", 16)],
)
def test_the_bytes_of_an_array(text: str, size: int) -> None:
    (value,) = values_of(text)
    assert value.bytes == size


def test_a_reduction_goes_there_and_back() -> None:
    whole = Value("f32", (10,))
    assert Collective("all-reduce", whole, 4, 3).bytes == 2 * 3 * 40
    assert Collective("all-gather", whole, 4, 3).bytes == 3 * 40


def test_what_is_no_program_is_refused() -> None:
    with pytest.raises(UserError, match="entry"):
        Program("nothing")
