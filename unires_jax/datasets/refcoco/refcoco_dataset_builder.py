"""RefCOCO, RefCOCO+ and RefCOCOg from whichever raw form the user holds."""

import tensorflow_datasets as tfds

from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.prepare.builder import RawBuilder

NAMES = [row.name for row in BENCHMARKS.values() if row.builder == "refcoco"]


class Builder(RawBuilder, skip_registration=True):
    """RefCOCO, RefCOCO+ or RefCOCOg (`--config`) converted from the folder `--raw`."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in NAMES]  # noqa: RUF012
