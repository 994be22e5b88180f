"""Which commands convert what a folder holds: other projects' files, tools' exports.

Source: ours.
"""

import contextlib
import itertools
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from unires_jax.engine.importers import command as importers
from unires_jax.engine.importers import mask_folder, parquet, splits
from unires_jax.engine.part_sources import ade20k
from unires_jax.engine.part_sources import command as part_sources
from unires_jax.engine.part_sources.coco import name_categories
from unires_jax.engine.part_sources.coco_file import CocoFile
from unires_jax.engine.part_sources.json_lists import JsonLists, json_files
from unires_jax.errors import DataError, printable
from unires_jax.prepare.rejects import Rejects

FILES = 1000  # of JSON, of parquet and of folders that are looked at; ours


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
        elif name and name != mask_folder.FORM.name:  # below, as its folder
            yield path, *_import(path, name)
    yield from _of_parquet(root)
    yield from _of_masks(root)


def _of_parquet(root: Path) -> Iterator[tuple[Path, str, str]]:
    """A command for each split of each folder whose files have the usual columns."""
    groups: dict[tuple[Path, str], None] = {}
    for path in itertools.islice(parquet.parquet_files(root), FILES):
        with contextlib.suppress(DataError):
            if parquet.matches(path):
                groups[path.parent, splits.word(Path(path.name))] = None
    for folder, split in groups:
        several = sum(other == folder for other, _ in groups) > 1
        more = f" --split {split}" if several and split else ""
        title = parquet.FORM.title
        yield folder, title, _line("unires import", folder, parquet.FORM.name, more)


def _of_masks(root: Path) -> Iterator[tuple[Path, str, str]]:
    """A command for each folder of pictures, masks and sentences, the outermost."""
    folders = [root, *(p for p in sorted(root.rglob("*")) if p.is_dir())][:FILES]
    taken: list[Path] = []
    for folder in folders:
        inside = any(folder.is_relative_to(other) for other in taken)
        if not inside and mask_folder.matches(folder):
            taken.append(folder)
            form = mask_folder.FORM
            yield folder, form.title, _line("unires import", folder, form.name, "")


def _has_parts(path: Path) -> bool:
    with JsonLists.open(path) as lists:
        file = CocoFile(lists, Rejects())
        return any(names.part for names in name_categories(file).values())


def _parts(path: Path, form: str) -> tuple[str, str]:
    title = part_sources.FORMS[form].title
    return title, _line("unires engine parts", path, form)


def _import(path: Path, form: str) -> tuple[str, str]:
    return importers.FORMS[form].title, _line("unires import", path, form)


def _line(command: str, path: Path, form: str, more: str = " --pictures FOLDER") -> str:
    source = _quoted(str(path))
    return f"{command} {source} --form {form}{more} --out FOLDER"


def _quoted(text: str) -> str:
    """A name for a shell's command line; what acts on a terminal as bash escapes it."""
    if printable(text) == text:
        return shlex.quote(text)
    signs = (chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in os.fsencode(text))
    escaped = "".join({"\\": "\\\\", "'": "\\'"}.get(sign, sign) for sign in signs)
    return f"$'{escaped}'"
