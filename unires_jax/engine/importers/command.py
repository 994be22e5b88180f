"""`unires import`: a team's labels as MRES JSONL, no model asked.

unires import --form label_studio export.json --pictures photos --out mine
unires doctor mine
unires build mres32m --raw mine --data_dir data
"""

from collections.abc import Sequence
from pathlib import Path

from unires_jax.engine.importers import coco, label_studio, labelme, lisa
from unires_jax.engine.part_sources.coco_file import LISTS
from unires_jax.engine.part_sources.command import arguments, convert
from unires_jax.engine.part_sources.json_lists import JsonLists, json_files
from unires_jax.errors import DataError

FORMS = {form.FORM.name: form.FORM for form in (coco, labelme, label_studio, lisa)}


def recognise(path: Path) -> str:
    """The form of an export; "" where it is none."""
    if path.is_dir():
        first = next(iter(json_files(path)), None)
        return recognise(first) if first else ""
    try:
        with JsonLists.open(path) as lists:
            names = lists.names()
            if label_studio.is_label_studio(lists):
                return label_studio.FORM.name
    except DataError:
        return ""
    if "shapes" in names:
        return lisa.FORM.name if "text" in names else labelme.FORM.name
    return coco.FORM.name if set(LISTS) <= set(names) else ""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code; raises UserError."""
    parser = arguments(
        "unires import",
        "A team's masks as MRES JSONL, for `unires build mres32m`: what was written of "
        "them as sentences, and class names where they name one thing.",
        FORMS,
    )
    return convert(parser.parse_args(argv), FORMS, recognise)
