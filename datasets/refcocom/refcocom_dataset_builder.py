"""RefCOCOm: expressions for parts beside those for objects."""

from typing import Any

from unires_jax.data.sources import recognise, refcocom
from unires_jax.data.sources.benchmarks import BENCHMARKS
from unires_jax.data.sources.builder import RawBuilder
from unires_jax.data.sources.parquet import Spool
from unires_jax.data.sources.pictures import find_images
from unires_jax.data.sources.recognise import Source
from unires_jax.data.sources.rejects import Rejects


class Builder(RawBuilder, skip_registration=True):
    """RefCOCOm from `--raw`; its object half from RefCOCO-UNC in `--objects`."""

    def __init__(
        self,
        *,
        objects: str = "",  # folder of RefCOCO-UNC; "": the _object_part files
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.objects = objects

    def read(self, rejects: Rejects, spool: Spool) -> Source:
        if not self.objects:
            folder = find_images(self.raw, self.images)
            return Source("refcocom", refcocom.read(self.raw, rejects), folder)
        unc = BENCHMARKS["refcoco_unc"]
        source = recognise.read(self.objects, unc, rejects, spool, self.images)
        found = refcocom.read(self.raw, rejects, source.referents)
        return Source("refcocom", found, source.picture)
