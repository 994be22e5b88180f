"""gRefCOCO: expressions with one target, several or none."""

from unires_jax.data.sources import recognise
from unires_jax.data.sources.benchmarks import BENCHMARKS
from unires_jax.data.sources.builder import RawBuilder
from unires_jax.data.sources.parquet import Spool
from unires_jax.data.sources.recognise import Source
from unires_jax.data.sources.rejects import Rejects


class Builder(RawBuilder, skip_registration=True):
    """gRefCOCO converted from the folder `--raw` (grefs(unc).json, instances.json)."""

    def read(self, rejects: Rejects, spool: Spool) -> Source:
        benchmark = BENCHMARKS["grefcoco"]
        return recognise.read(self.raw, benchmark, rejects, spool, self.images)
