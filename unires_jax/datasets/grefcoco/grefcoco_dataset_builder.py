"""gRefCOCO: expressions with one target, several or none."""

from unires_jax.prepare.builder import RawBuilder


class Builder(RawBuilder, skip_registration=True):
    """gRefCOCO converted from the folder `--raw` (grefs(unc).json, instances.json)."""
