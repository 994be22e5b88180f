"""RefCOCO-M: RefCOCO's val with new masks (moondream). Neither RefCOCO nor RefCOCOm."""

from unires_jax.data.sources import refcoco_m
from unires_jax.data.sources.builder import RawBuilder
from unires_jax.data.sources.parquet import Spool
from unires_jax.data.sources.recognise import Source
from unires_jax.data.sources.rejects import Rejects


class Builder(RawBuilder, skip_registration=True):
    """RefCOCO-M converted from the parquet files below `--raw`."""

    def read(self, rejects: Rejects, spool: Spool) -> Source:
        return Source("moondream", refcoco_m.read(self.raw, rejects, spool), spool)
