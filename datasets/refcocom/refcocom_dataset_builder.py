"""RefCOCOm: expressions for parts beside those for objects."""

from typing import Any

from unires_jax.prepare.builder import RawBuilder
from unires_jax.prepare.catalogue import BENCHMARKS
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import recognise, refcocom
from unires_jax.prepare.sources.parquet import Spool
from unires_jax.prepare.sources.pictures import find_images
from unires_jax.prepare.sources.recognise import Source


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
