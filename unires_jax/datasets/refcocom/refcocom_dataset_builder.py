"""RefCOCOm: expressions for parts beside those for objects."""

import dataclasses
from typing import Any

from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.files import local
from unires_jax.prepare.builder import RawBuilder
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import recognise, refcocom
from unires_jax.prepare.sources.form import Raw, Source


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

    def read(self, raw: Raw, rejects: Rejects) -> Source:
        if not self.objects:
            return refcocom.read(raw, self.benchmark, rejects)
        unc = dataclasses.replace(raw, root=local(self.objects))
        objects = recognise.read(unc, BENCHMARKS["refcoco_unc"], rejects)
        return refcocom.read(raw, self.benchmark, rejects, objects)
