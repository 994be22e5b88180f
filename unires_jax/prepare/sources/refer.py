"""The `refer` layout: <dataset>/refs(<splitBy>).p or .json beside instances.json.

Source: the refer API's files for RefCOCO, RefCOCO+ and RefCOCOg, and gRefCOCO's
grefs(unc).json, whose ann_id is a list and [-1] where nothing is denoted.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from unires_jax.data.records import Mask
from unires_jax.errors import DataError
from unires_jax.prepare.catalogue import Benchmark, split_name
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Instances
from unires_jax.prepare.sources.fields import check, get, read_json, shown
from unires_jax.prepare.sources.pickles import load_pickle
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.referent import Referent, Sentence, collect


def read(root: str | Path, benchmark: Benchmark, rejects: Rejects) -> list[Referent]:
    """The referents of a benchmark below root, all splits.

    Raises DataError naming a file that is missing or broken as a whole.
    """
    refs, instances = paths(root, benchmark)
    if refs is None or instances is None:
        base = Path(root) / benchmark.folder
        stem = f"{benchmark.refs}({benchmark.split_by})"
        lost = base / f"{stem}.p" if refs is None else base / "instances.json"
        raise DataError(f"{lost}: no such file (a refs file may also end in .json)")
    content = load_pickle(refs) if refs.suffix.lower() != ".json" else read_json(refs)
    entries = check(content, list, f"{refs}: the whole")
    index = Instances.open(instances)

    def build(entry: Any, where: str) -> Referent:
        return referent(entry, index, benchmark, where)

    return collect(entries, build, str(refs), rejects)


def paths(root: str | Path, benchmark: Benchmark) -> tuple[Path | None, Path | None]:
    """The refs file and instances.json, in root's folder of the data set or in root."""
    stem = f"{benchmark.refs}({benchmark.split_by})"
    names = [f"{stem}{end}" for end in (".p", ".pkl", ".json")]
    for base in (benchmark.folder, "."):
        found = (find_any_case(root, f"{base}/{n}") for n in names)
        refs = next((f for f in found if f), None)
        if refs:
            return refs, find_any_case(root, f"{base}/instances.json")
    return None, find_any_case(root, f"{benchmark.folder}/instances.json")


def referent(
    entry: Any, index: Instances, benchmark: Benchmark, where: str
) -> Referent:
    """One entry of a refs file. Raises DataError naming what is wrong.

    The image's name comes from the image list: `file_name` has a suffix of its own.
    """
    image = index.image(get(entry, "image_id", int, where))
    masks = targets(entry, where, lambda ann_id: index.mask(ann_id, image.image_id))
    return Referent(
        filename=image.filename,
        image_id=image.image_id,
        split=split_name(get(entry, "split", str, where), benchmark),
        ref_id=get(entry, "ref_id", int, where),
        masks=masks,
        sentences=sentences(entry, where),
        height=image.height,
        width=image.width,
        no_target=not masks,
        coco_id=image.image_id,
    )


def targets(entry: Any, where: str, mask: Callable[[int], Mask]) -> tuple[Mask, ...]:
    """The masks of an entry's ann_id, a number or a list; () for [-1] (no target).

    Raises DataError if `no_target`, where given, says otherwise.
    """
    given = entry["ann_id"] if "ann_id" in entry else get(entry, "ann_id", int, where)
    ids = given if isinstance(given, list) else [given]
    ids = [check(i, int, f"{where}: ann_id") for i in ids]
    none = ids == [-1]
    if get(entry, "no_target", bool, where, none) != none or not ids:
        raise DataError(
            f"{where}: ann_id {shown(given)} with no_target "
            f"{shown(entry.get('no_target'))}; [-1] alone means no target"
        )
    return () if none else tuple(mask(i) for i in dict.fromkeys(ids))


def sentences(entry: Any, where: str) -> tuple[Sentence, ...]:
    """The sentences of an entry; `raw` falls back to `sent`."""
    found = []
    for i, item in enumerate(get(entry, "sentences", list, where)):
        at = f"{where}: sentences[{i}]"
        sent = get(item, "sent", str, at)
        raw = get(item, "raw", str, at, sent)
        found.append(Sentence(get(item, "sent_id", int, at), raw, sent))
    return tuple(found)
