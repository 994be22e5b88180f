"""TPU slices that need not be here: their chips and their devices.

The TPU compiler comes with the package libtpu and needs no TPU.
"""

import importlib.util
import os
from typing import Any

from unires_jax.errors import ConfigError
from unires_jax.training.chips import V5E, V5P, V6E, Chip

CHIPS = {"v5e": V5E, "v5p": V5P, "v6e": V6E}

_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")
SLICES = {"v5e": _FLAT, "v5p": (*_CUBES, "8x8x16", "8x16x16"), "v6e": _FLAT}

# What libtpu asks the machine for, where there is no TPU to tell it.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # two compilers at once
    "TPU_STDERR_LOG_LEVEL": "3",
}


def chip_of(topology: str) -> Chip:
    """The chip of `v5e:16x16`. Raises ConfigError listing the slices if it is none."""
    kind, _, shape = topology.partition(":")
    if shape not in SLICES.get(kind, ()):
        known = "\n  ".join(f"{k}: {', '.join(v)}" for k, v in SLICES.items())
        raise ConfigError(
            f"--topology {topology!r} must be a chip and a slice of it, such as "
            f"v5e:16x16. There are:\n  {known}"
        )
    return CHIPS[kind]


def described_devices(topology: str) -> list[Any]:
    """The devices of a slice, to make a mesh of. Arrays cannot be put on them.

    Raises ConfigError if there is no such slice, or no compiler for it.
    """
    chip_of(topology)
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError(
            "the TPU compiler is not installed: pip install 'unires_jax[tpu-aot]'"
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import jax
    from jax.experimental import topologies

    # The compiler alone is wanted: leave this machine's own devices to others.
    jax.config.update("jax_platforms", "cpu")
    described = topologies.get_topology_desc(topology, "tpu")
    return list(described.devices)
