"""RefCOCO-M: RefCOCO's val with new masks (moondream). Neither RefCOCO nor RefCOCOm."""

from unires_jax.prepare.builder import RawBuilder


class Builder(RawBuilder, skip_registration=True):
    """RefCOCO-M converted from the parquet files below `--raw`."""
