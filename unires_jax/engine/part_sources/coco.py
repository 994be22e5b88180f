"""Any COCO JSON with parts: exports of CVAT, Label Studio, Roboflow, and one's own.

A category is a part where its name says so ("car:wheel", "dog's head", "dog head") or
where its supercategory is a category that things are marked with.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from unires_jax.engine.part_sources.coco_file import CocoFile, Names
from unires_jax.engine.part_sources.form import Form, Opened
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.engine.part_sources.names import clean_category
from unires_jax.errors import DataError
from unires_jax.prepare.rejects import Rejects

_POSSESSIVES = ("'s ", "\u2019s ", "s' ")


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects) -> Iterator[Opened]:
    """The pictures of a COCO JSON. Raises DataError where no category is a part."""
    with JsonLists.open(path) as lists:
        file = CocoFile(lists, rejects)
        names = name_categories(file)
        if not any(n.part for n in names.values()):
            raise DataError(
                'no category is a part: expected "car:wheel", "car\'s wheel" or a '
                "supercategory that is a category with annotations, found "
                f"{', '.join(sorted(n.category for n in names.values())[:5])}; without "
                "parts: unires import --form coco",
                place=str(path),
            )
        yield Opened(len(file.images), file.pictures(names))


def name_categories(file: CocoFile) -> dict[int, Names]:
    """What each category of a file names.

    Roboflow puts all classes below a heading that nothing is marked with, and which a
    class may be called like: its name makes no parts.
    """
    listed = [(clean_category(c.name), c) for c in file.categories.values()]
    headings = {n for n, c in listed if not c.uses and c.above in ("", "none")}
    marked = {name for name, category in listed if category.uses} - headings
    names = {}
    for key, category in file.categories.items():
        named = split_name(category.name)
        above = clean_category(category.above)
        own = clean_category(category.name)
        if not named.part and above != own and above in marked:
            start = f"{above} "
            named = Names(category.above, own.removeprefix(start))
        names[key] = named
    return names


def split_name(name: str) -> Names:
    """Object and part of a name of both: "car:wheel", "car's wheel"."""
    for sign in (":", *_POSSESSIVES):
        whole, cut, part = name.partition(sign)
        if cut and whole.strip() and part.strip():
            return Names(whole.strip(), part.strip())
    return Names(name)


FORM = Form(
    "coco",
    "COCO JSON",
    "a COCO JSON with categories of parts",
    "its own",
    True,
    open_source,
)
