"""The `refer` layout: <dataset>/refs(<splitBy>).p or .json beside instances.json.

Source: the refer API's files for RefCOCO, RefCOCO+ and RefCOCOg, and gRefCOCO's
grefs(unc).json, whose ann_id is a list and [-1] where nothing is denoted.
"""

import functools
from pathlib import Path
from typing import Any

from unires_jax.data.catalogue import Benchmark
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import identity
from unires_jax.prepare.sources.coco import Instances
from unires_jax.prepare.sources.fields import check, get, read_json
from unires_jax.prepare.sources.form import Files, Form, Raw, Source
from unires_jax.prepare.sources.pickles import load_pickle
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.referent import (
    Referent,
    collect,
    require_entries,
    sentences,
    targets,
)


def find(root: Path, benchmark: Benchmark) -> Files:
    """The refs file and instances.json, in root's folder of the data set or in root."""
    if not benchmark.refs:
        return Files()
    refs, instances = _paths(root, benchmark)
    if refs.exists() and (name := identity.other(refs, root, benchmark)):
        passed = {refs: f"its folder is called {name}, not {benchmark.folder}"}
        return Files(usual=(root / benchmark.folder / refs.name,), passed=passed)
    beside = (find_any_case(refs.parent, name) for name in _names(benchmark))
    return Files(
        passed={p: f"{refs.name} is read" for p in beside if p and p != refs},
        present=(refs,) if refs.exists() else (),
        missing=() if instances.exists() else (instances,),
        usual=(root / benchmark.folder / _names(benchmark)[0],),
    )


def _names(benchmark: Benchmark) -> list[str]:
    stem = f"{benchmark.refs}({benchmark.split_by})"
    return [f"{stem}{end}" for end in (".p", ".pkl", ".json")]


def _paths(root: Path, benchmark: Benchmark) -> tuple[Path, Path]:
    """The refs file and instances.json: where they are, else where they belong."""
    names = _names(benchmark)
    for base in (benchmark.folder, "."):
        refs = find_any_case(root, *(f"{base}/{name}" for name in names))
        if refs:
            break
    else:
        base, refs = benchmark.folder, root / benchmark.folder / names[0]
    instances = find_any_case(root, f"{base}/instances.json")
    return refs, instances or refs.with_name("instances.json")


def read(raw: Raw, benchmark: Benchmark, rejects: Rejects) -> Source:
    """The referents of a benchmark, all splits."""
    picture = raw.pictures(rejects.notes)  # before the long reading
    refs, instances = _paths(raw.root, benchmark)
    plain = refs.name.lower().removesuffix(".gz")
    content = read_json(refs) if plain.endswith(".json") else load_pickle(refs)
    entries = check(content, list, str(refs), "the whole")
    require_entries(entries, str(refs))
    index = Instances.open(instances, rejects.notes)
    build = functools.partial(_referent, index=index, benchmark=benchmark)
    referents = collect(entries, build, str(refs), rejects, len(entries))
    if benchmark.has_silent:
        referents = _spoken(referents, rejects.notes)
    return Source("refer", referents, picture, (refs, instances))


def _spoken(referents: list[Referent], notes: Notes) -> list[Referent]:
    """The referents that are spoken of; the others are told."""
    for referent in referents:
        if not referent.sentences:
            notes.add("a referent without a sentence is left out", referent.name)
    return [referent for referent in referents if referent.sentences]


def _referent(
    entry: Any, place: str, index: Instances, benchmark: Benchmark
) -> Referent:
    """One entry of a refs file.

    The image's name comes from the image list: `file_name` has a suffix of its own.
    """
    image = index.image(get(entry, "image_id", int, place))
    return Referent(
        image=image,
        split=benchmark.split(get(entry, "split", str, place)),
        ref_id=get(entry, "ref_id", int, place),
        masks=targets(entry, place, lambda i: index.mask(i, image.image_id)),
        sentences=sentences(entry, place),
    )


FORM = Form("refer", 0, find, read)
