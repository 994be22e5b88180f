"""RefCOCO, RefCOCO+ and RefCOCOg from whichever raw form the user holds."""

import tensorflow_datasets as tfds

from unires_jax.prepare.builder import RawBuilder
from unires_jax.prepare.catalogue import BENCHMARKS
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import recognise
from unires_jax.prepare.sources.parquet import Spool
from unires_jax.prepare.sources.recognise import Source

NAMES = (
    "refcoco_unc",
    "refcoco_google",
    "refcocoplus_unc",
    "refcocog_umd",
    "refcocog_google",
)


class Builder(RawBuilder, skip_registration=True):
    """RefCOCO, RefCOCO+ or RefCOCOg (`--config`) converted from the folder `--raw`."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in NAMES]  # noqa: RUF012

    def read(self, rejects: Rejects, spool: Spool) -> Source:
        benchmark = BENCHMARKS[self.builder_config.name]
        return recognise.read(self.raw, benchmark, rejects, spool, self.images)
