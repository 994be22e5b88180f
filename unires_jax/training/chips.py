"""Accelerators and what they can do at most, as their makers publish it."""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device of jax, which is a whole chip on all of these."""

    name: str
    peak_flops: float  # FLOP/s of dense bfloat16 matrix products
    hbm_bytes: int
    bandwidth: float  # of that memory, bytes/s


# Sources: Google's pages of TPU versions, NVIDIA's data sheets. Memory is sold in GB
# and is there in GiB, within 1 %, less what the runtime keeps.
V5E = Chip("TPU v5e", 197e12, 16 * GIB, 819e9)
V5P = Chip("TPU v5p", 459e12, 95 * GIB, 2765e9)
V6E = Chip("TPU v6e", 918e12, 32 * GIB, 1640e9)
A100_40 = Chip("A100 40 GB", 312e12, 40 * GIB, 1555e9)
A100_80 = Chip("A100 80 GB", 312e12, 80 * GIB, 2039e9)
H100 = Chip("H100 SXM", 989e12, 80 * GIB, 3350e9)
H100_PCIE = Chip("H100 PCIe", 756e12, 80 * GIB, 2000e9)
H200 = Chip("H200 SXM", 989e12, 141 * GIB, 4800e9)

# By what jax calls a device. Exactly: a part of a card, or a slower sibling, has
# another name and must not get these figures.
CHIPS = {
    "TPU v5 lite": V5E,
    "TPU v5e": V5E,
    "TPU v5": V5P,
    "TPU v5p": V5P,
    "TPU v6 lite": V6E,
    "TPU v6e": V6E,
    "NVIDIA A100-SXM4-40GB": A100_40,
    "NVIDIA A100-PCIE-40GB": A100_40,
    "NVIDIA A100-SXM4-80GB": A100_80,
    "NVIDIA A100 80GB PCIe": A100_80,
    "NVIDIA H100 80GB HBM3": H100,
    "NVIDIA H100 PCIe": H100_PCIE,
    "NVIDIA H200": H200,
}


def chip_of(device_kind: str) -> Chip | None:
    """The chip of a `jax.Device.device_kind`; None for any other, as a CPU is."""
    return CHIPS.get(device_kind)
