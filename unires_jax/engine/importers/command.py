"""`unires import`: a team's labels as MRES JSONL, no model asked.

unires import --form label_studio export.json --pictures photos --out mine
unires doctor mine
unires build mres32m --raw mine --data_dir data
"""

from collections.abc import Sequence
from pathlib import Path

from unires_jax.engine.importers import (
    coco,
    columns,
    label_studio,
    labelme,
    lisa,
    mask_folder,
    parquet,
    tables,
)
from unires_jax.engine.part_sources.coco_file import LISTS
from unires_jax.engine.part_sources.command import arguments, convert
from unires_jax.engine.part_sources.json_lists import JsonLists, json_files
from unires_jax.engine.part_sources.output import SENTENCES
from unires_jax.errors import DataError

FORMS = {
    form.FORM.name: form.FORM
    for form in (coco, labelme, label_studio, lisa, mask_folder, parquet)
}


def recognise(path: Path) -> str:
    """The form of an export; "" where it is none."""
    if path.is_dir():
        first = next(iter(json_files(path)), None)
        if first and (name := recognise(first)):
            return name
        if parquet.parquet_files(path):
            return parquet.FORM.name
        return mask_folder.FORM.name if mask_folder.matches(path) else ""
    if path.suffix == ".parquet":
        return parquet.FORM.name
    if path.suffix in tables.SUFFIXES and path.suffix != ".json":
        return mask_folder.FORM.name if mask_folder.matches(path) else ""
    try:
        with JsonLists.open(path) as lists:
            names = lists.names()
            if label_studio.is_label_studio(lists):
                return label_studio.FORM.name
    except DataError:
        return ""
    if "shapes" in names:
        return lisa.FORM.name if "text" in names else labelme.FORM.name
    if set(LISTS) <= set(names):
        return coco.FORM.name
    return mask_folder.FORM.name if mask_folder.matches(path) else ""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code; raises UserError."""
    parser = arguments(
        "unires import",
        "A team's masks as MRES JSONL, for `unires build mres32m`: what was written of "
        "them as sentences, and class names where they name one thing.",
        FORMS,
    )
    parser.add_argument(
        "--sentences",
        choices=SENTENCES,
        default=SENTENCES[0],
        help="what becomes one: captions that people wrote, names of classes where "
        "they name one thing, or both; default: both",
    )
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help=f"which column of rows holds {', '.join(columns.ROLES)}: "
        "--column text=sentence; may be given again; default: by usual names",
    )
    args = parser.parse_args(argv)
    return convert(args, FORMS, recognise, columns.parse(args.column))
