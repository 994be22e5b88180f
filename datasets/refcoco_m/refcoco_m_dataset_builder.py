"""RefCOCO-M: RefCOCO's val with new masks (moondream). Neither RefCOCO nor RefCOCOm."""

from unires_jax.prepare.builder import RawBuilder
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import refcoco_m
from unires_jax.prepare.sources.form import Raw, Source


class Builder(RawBuilder, skip_registration=True):
    """RefCOCO-M converted from the parquet files below `--raw`."""

    def read(self, raw: Raw, rejects: Rejects) -> Source:
        return refcoco_m.read(raw, self.benchmark, rejects)
