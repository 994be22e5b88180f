"""gRefCOCO: expressions with one target, several or none."""

from unires_jax.prepare.builder import RawBuilder
from unires_jax.prepare.catalogue import BENCHMARKS
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import recognise
from unires_jax.prepare.sources.parquet import Spool
from unires_jax.prepare.sources.recognise import Source


class Builder(RawBuilder, skip_registration=True):
    """gRefCOCO converted from the folder `--raw` (grefs(unc).json, instances.json)."""

    def read(self, rejects: Rejects, spool: Spool) -> Source:
        benchmark = BENCHMARKS["grefcoco"]
        return recognise.read(self.raw, benchmark, rejects, spool, self.images)
