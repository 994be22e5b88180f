"""Which commands convert what a folder holds: other projects' files, tools' exports.

Source: ours.
"""

import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path

from unires_jax.engine.importers import command as importers
from unires_jax.engine.part_sources import ade20k
from unires_jax.engine.part_sources import command as part_sources
from unires_jax.engine.part_sources.coco import name_categories
from unires_jax.engine.part_sources.coco_file import CocoFile
from unires_jax.engine.part_sources.json_lists import JsonLists, json_files
from unires_jax.prepare.rejects import Rejects

FILES = 1000  # of JSON that are looked at; ours


def commands(root: Path) -> Iterator[tuple[Path, str, str]]:
    """What can be converted below a folder: where it is, its title, the command."""
    if next(root.rglob(f"*{ade20k.END}"), None):  # has a JSON for each picture, too
        yield root, *_parts(root, "ade20k")
        return
    for folder in sorted({path.parent for path in root.rglob("*.mat")}):
        yield folder, *_parts(folder, "pascal_part")
    single: set[Path] = set()  # folders of a file for each picture
    for path in itertools.islice(json_files(root), FILES):
        if path.parent in single:
            continue
        name = importers.recognise(path)
        if name in ("labelme", "lisa"):
            single.add(path.parent)
            yield path.parent, *_import(path.parent, name)
        elif name == "coco":
            form = part_sources.recognise(path)
            if form == "pascal_part" and "pascal" not in path.name.lower():
                form = "coco"  # a team may mark cars and dogs, too
            parts = form != "coco" or _has_parts(path)
            yield path, *(_parts(path, form) if parts else _import(path, name))
        elif name:
            yield path, *_import(path, name)


def _has_parts(path: Path) -> bool:
    with JsonLists.open(path) as lists:
        file = CocoFile(lists, Rejects())
        return any(names.part for names in name_categories(file).values())


def _parts(path: Path, form: str) -> tuple[str, str]:
    title = part_sources.FORMS[form].title
    return title, _line("unires engine parts", path, form)


def _import(path: Path, form: str) -> tuple[str, str]:
    return importers.FORMS[form].title, _line("unires import", path, form)


def _line(command: str, path: Path, form: str) -> str:
    source = shlex.quote(str(path))
    return f"{command} {source} --form {form} --pictures FOLDER --out FOLDER"
