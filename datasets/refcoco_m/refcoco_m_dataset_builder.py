"""RefCOCO-M: RefCOCO's val with new masks (moondream). Neither RefCOCO nor RefCOCOm."""

from unires_jax.prepare.builder import RawBuilder
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import refcoco_m
from unires_jax.prepare.sources.parquet import Spool
from unires_jax.prepare.sources.recognise import Source


class Builder(RawBuilder, skip_registration=True):
    """RefCOCO-M converted from the parquet files below `--raw`."""

    def read(self, rejects: Rejects, spool: Spool) -> Source:
        return Source("moondream", refcoco_m.read(self.raw, rejects, spool), spool)
