"""A compiled step weighed against its chip.

Where a step is bound by bandwidth the ceiling of its model FLOP utilisation (MFU) is
the time of its model FLOPs over the time of its bytes, each at the published rate.
"""

import dataclasses
import math
import time
from typing import NamedTuple

import jax

from unires_jax.aot.program import Collective, Program, Value
from unires_jax.aot.steps import Step
from unires_jax.parameters import flatten
from unires_jax.training.chips import Chip
from unires_jax.training.recipe import OUT_OF_MEMORY

LISTED = 8  # of the largest arrays


class Parameter(NamedTuple):
    """A parameter: its dotted name, its shape, and that of each device's share."""

    name: str
    shape: tuple[int, ...]
    shard: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on each chip."""

    arguments: int
    outputs: int  # without those that take an argument's place
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        """All of it, which must be below the chip's HBM."""
        return self.arguments + self.outputs + self.temporaries + self.code


@dataclasses.dataclass(frozen=True)
class StepReport:
    """What a step costs a chip.

    `refusal` is the compiler's word where it does not fit; all else is then zero.
    """

    name: str
    model_flops: float
    compile_seconds: float  # of all cores together
    refusal: str = ""
    hlo_flops: float = 0.0
    bytes_accessed: float = 0.0
    memory: Memory = Memory(0, 0, 0, 0)
    parameters: tuple[Parameter, ...] = ()
    itemsize: int = 4  # bytes of an element on its way
    collectives: tuple[Collective, ...] = ()
    largest: tuple[Value, ...] = ()

    def fits(self, chip: Chip) -> bool:
        """Whether the chip's memory holds it."""
        return not self.refusal and self.memory.total <= chip.hbm_bytes

    @property
    def traffic(self) -> int:
        """Bytes of all collectives, as `Collective.bytes` counts them."""
        return sum(c.bytes for c in self.collectives)

    @property
    def gather_once(self) -> int:
        """The traffic of each sharded parameter gathered once, its gradient scattered.

        4 bytes a parameter in bfloat16.
        """
        return 2 * self._sharded * self.itemsize

    @property
    def gather_twice(self) -> int:
        """As `gather_once`, gathered again for the backward pass."""
        return 3 * self._sharded * self.itemsize

    @property
    def _sharded(self) -> int:
        """Elements of the parameters that no device holds whole."""
        split = (p.shape for p in self.parameters if p.shard != p.shape)
        return sum(map(math.prod, split))

    def seconds(self, chip: Chip) -> dict[str, float]:
        """The time of the model's FLOPs, of all FLOPs, and of the bytes."""
        return {
            "model_flops": self.model_flops / chip.peak_flops,
            "hlo_flops": self.hlo_flops / chip.peak_flops,
            "bytes": self.bytes_accessed / chip.bandwidth,
        }

    def mfu_ceiling(self, chip: Chip) -> float:
        """The highest share of the chip's FLOPs that the model's can be."""
        times = self.seconds(chip)
        return times["model_flops"] / (max(times.values()) or math.inf)


def measure(step: Step, itemsize: int) -> StepReport:
    """Compile a step and read what the compiler made. `itemsize` of its dtype.

    Of a step in rounds the costs are those of a round times the rounds, the optimizer's
    small part with them.
    """
    started = time.process_time()
    lowered, flops = step.lower(), step.flops / step.devices
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if OUT_OF_MEMORY not in str(error):
            raise
        seconds = time.process_time() - started
        return StepReport(step.name, flops, seconds, refusal=str(error))
    seconds = time.process_time() - started
    costs, memory = compiled.cost_analysis(), compiled.memory_analysis()
    program = Program(compiled.as_text())
    return StepReport(
        step.name,
        flops,
        seconds,
        hlo_flops=costs["flops"] * step.rounds,
        bytes_accessed=costs["bytes accessed"] * step.rounds,
        memory=Memory(
            memory.argument_size_in_bytes,
            memory.output_size_in_bytes - memory.alias_size_in_bytes,
            memory.temp_size_in_bytes,
            memory.generated_code_size_in_bytes,
        ),
        parameters=parameters_of(step),
        itemsize=itemsize,
        collectives=tuple(program.collectives()),
        largest=tuple(program.arrays()[:LISTED]),
    )


def parameters_of(step: Step) -> tuple[Parameter, ...]:
    """The parameters a step is given."""
    return tuple(
        Parameter(name, x.shape, x.sharding.shard_shape(x.shape))
        for name, x in flatten(step.parameters).items()
    )
