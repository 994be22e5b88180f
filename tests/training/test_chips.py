"""Devices are recognised by their exact names."""

from unires_jax.training.chips import CHIPS, chip_of


def test_devices_by_name() -> None:
    for kind, name in [
        ("TPU v5 lite", "TPU v5e"),
        ("TPU v5", "TPU v5p"),
        ("TPU v6 lite", "TPU v6e"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 80 GB"),
    ]:
        chip = chip_of(kind)
        assert chip and chip.name == name
    for kind in ("cpu", "", "TPU v4", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "GH200"):
        assert chip_of(kind) is None


def test_figures_are_of_one_magnitude() -> None:
    """FLOP/s, bytes and bytes/s, not their thousandfold."""
    for chip in CHIPS.values():
        assert 1e14 < chip.peak_flops < 2e15
        assert 8e9 < chip.hbm_bytes < 3e11
        assert 5e11 < chip.bandwidth < 1e13
        assert 100 < chip.peak_flops / chip.bandwidth < 600  # FLOPs a byte
