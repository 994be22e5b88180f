"""A compiled program as text (HLO): its collectives, its arrays, how often each runs.

Source: ours, over the text that XLA prints of an optimised, scheduled module.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from unires_jax.errors import UserError

# Collectives, and how often the bytes of the whole array, all devices' together, pass
# each link of a ring. What goes to one device takes the shorter way: a quarter of it.
PASSES = {
    "all-gather": 1,
    "reduce-scatter": 1,
    "all-reduce": 2,
    "all-to-all": 0.25,
    "collective-permute": 1,
    "ragged-all-to-all": 0.25,
    "collective-broadcast": 1,
}

# The TPU compiler's fusion of a reduction and the cut of each device's share.
_SCATTERS = "all-reduce-scatter"

# What names arrays that are there already.
_NO_ARRAY = {"bitcast", "get-tuple-element", "tuple", "opt-barrier", "while"}

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\](\{[^}]*\})?")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|called_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
# Groups of two, as it may be written: {{0,1},{2,3}}, [2,2]<=[4], and by mesh axes
# mesh['a'=2,'b'=2] {'b'} or mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}.
_LISTED_GROUPS = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_EVEN_GROUPS = re.compile(r"replica_groups=\[(\d+),(\d+)\]")
_MESH_GROUPS = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(.*?\))? \{([^}]*)\}"
)
_CHAIN = re.compile(r'\bchain_id="(\d+)"')
_BITS = re.compile(r"[a-z]+(\d+)")


class Value(NamedTuple):
    """An array of a program."""

    dtype: str  # as HLO says it: bf16, f32, s32, pred
    shape: tuple[int, ...]
    copies: int = 1  # how many there are
    origin: str = ""  # the operation that makes it, as jax names it

    @property
    def bytes(self) -> int:
        """Of one of them."""
        bits = _BITS.match(self.dtype)
        return math.prod(self.shape) * (max(int(bits[1]) // 8, 1) if bits else 1)


class Collective(NamedTuple):
    """A collective of one array."""

    kind: str  # of PASSES
    whole: Value  # gathered, before it is scattered or sent around, or reduced
    devices: int  # that exchange
    times: int  # in one run of the program

    @property
    def bytes(self) -> int:
        """What passes each link in one run, a ring's (n - 1) / n taken as 1."""
        return int(PASSES[self.kind] * self.times * self.whole.bytes)


class Instruction(NamedTuple):
    """`name = result opcode(rest`."""

    name: str
    result: str
    opcode: str
    rest: str

    @property
    def origin(self) -> str:
        """The operation of jax it comes from."""
        match = re.search(r'op_name="([^"]*)"', self.rest)
        return match[1].replace("\\'", "'") if match else ""


class Program:
    """The computations of a module, and how often each runs."""

    def __init__(self, text: str):
        self.computations: dict[str, list[Instruction]] = {}
        self.entry = ""
        current: list[Instruction] = []
        for line in text.splitlines():
            if opened := _COMPUTATION.match(line):
                current = self.computations[opened[2]] = []
                self.entry = opened[2] if opened[1] else self.entry
            elif parts := _INSTRUCTION.match(line):
                current.append(Instruction(*parts.groups()))
        if not self.entry:
            raise UserError("the compiled program is not HLO text with an entry")
        self.runs = self._count_runs()

    def _count_runs(self) -> Counter[str]:
        """How often each computation runs in one run of the program."""
        runs: Counter[str] = Counter()

        def visit(name: str, times: int) -> None:
            runs[name] += times
            for instruction in self.computations[name]:
                inner = times * self._turns(instruction)
                for called in called_by(instruction):
                    if called in self.computations:
                        visit(called, inner)

        visit(self.entry, 1)
        return runs

    def _turns(self, instruction: Instruction) -> int:
        """How often an instruction runs what it calls; a loop of unknown length once.

        Where the compiler does not say it, it is the constant below which the loop's
        condition, as of `jax.lax.scan`, holds its counter.
        """
        if instruction.opcode != "while":
            return 1
        if said := _TRIPS.search(instruction.rest):
            return int(said[1])
        condition = re.search(r"\bcondition=%?([\w.\-]+)", instruction.rest)
        lines = self.computations.get(condition[1], []) if condition else []
        constants = {x.name: x.rest for x in lines if x.opcode == "constant"}
        for line in lines:
            if line.opcode == "compare" and "direction=LT" in line.rest:
                for operand in re.findall(r"%([\w.\-]+)", line.rest):
                    if limit := re.match(r"(\d+)\)", constants.get(operand, "")):
                        return int(limit[1])
        return 1

    def collectives(self) -> Iterator[Collective]:
        """Every exchange between at least two devices, started ones once.

        What the TPU compiler spreads over several fusions, to run beside their
        products, is in each of them under one chain's number, and counted once.
        """
        chains = set()
        for name, instructions in self.computations.items():
            for instruction in instructions:
                kind = instruction.opcode.removesuffix("-start")
                if kind not in PASSES or not self.runs[name]:
                    continue
                if (devices := _group_size(instruction)) < 2:
                    continue
                if chain := _CHAIN.search(instruction.rest):
                    if (kind, chain[1]) in chains:
                        continue
                    chains.add((kind, chain[1]))
                whole = _whole_arrays(kind, instruction, devices)
                if name.startswith(_SCATTERS):  # whose shares alone are kept
                    kind = "reduce-scatter"
                for value in whole:
                    yield Collective(kind, value, devices, self.runs[name])

    def arrays(self) -> list[Value]:
        """What the instructions of the entry make in the chip's main memory.

        The largest first; equal ones of one origin together. They are not all there at
        once: an array's place is taken again when it is used up.
        """
        counts: Counter[Value] = Counter()
        for instruction in self.computations[self.entry]:
            if instruction.opcode in _NO_ARRAY:
                continue
            for dtype, shape, layout in _ARRAY.findall(instruction.result):
                if not re.search(r"S\([1-9]", layout):  # 0, or unsaid: main memory
                    value = values_of(f"{dtype}[{shape}]")[0]
                    counts[value._replace(origin=instruction.origin)] += 1
        values = [v._replace(copies=n) for v, n in counts.items()]
        return sorted(values, key=lambda v: -v.bytes)


def called_by(instruction: Instruction) -> list[str]:
    """The computations an instruction runs."""
    branches = _BRANCHES.search(instruction.rest)
    listed = re.findall(r"[\w.\-]+", branches[1]) if branches else []
    return [*_CALLED.findall(instruction.rest), *listed]


def _group_size(instruction: Instruction) -> int:
    """Devices that exchange with each other; for a permutation two."""
    if instruction.opcode.startswith("collective-permute"):
        return 2
    if listed := _LISTED_GROUPS.search(instruction.rest):
        return len(listed[1].split(","))
    if even := _EVEN_GROUPS.search(instruction.rest):
        return int(even[2])
    if mesh := _MESH_GROUPS.search(instruction.rest):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        # An axis, or a part of one: 'axis_0', 'axis_0':(2)4.
        axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    raise UserError(f"a collective of an unknown form: {instruction.rest[:300]}")


def _whole_arrays(kind: str, instruction: Instruction, devices: int) -> Iterator[Value]:
    """The arrays a collective exchanges, several where the compiler joined them."""
    values = values_of(instruction.result)
    if instruction.opcode.endswith("-start") and kind != "all-reduce":
        # (operands, results, contexts): operands and results are equally many.
        values = [v for v in values if v.dtype != "u32"]
        values = values[len(values) // 2 :]
    for value in values:
        shape = value.shape
        if kind == "reduce-scatter" or kind.endswith("all-to-all"):
            cut = re.search(r"\bdimensions=\{(\d+)\}", instruction.rest)
            axis = int(cut[1]) if cut else 0
            shape = (*shape[:axis], shape[axis] * devices, *shape[axis + 1 :])
        yield Value(value.dtype, shape, 1, instruction.origin)


def values_of(text: str) -> list[Value]:
    """The arrays of a type as HLO writes it, `(bf16[8,4]{1,0}, f32[])`."""
    return [
        Value(dtype, tuple(map(int, filter(None, shape.split(",")))))
        for dtype, shape, _ in _ARRAY.findall(text)
    ]
