"""`unires engine parts`: part annotations that exist as MRES JSONL, no model asked.

unires engine parts --form paco paco_lvis_v1_train.json --pictures coco --out paco
unires doctor paco
unires build mres32m --raw paco --data_dir data
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from unires_jax.engine.part_sources import (
    ade20k,
    ade20k_part_234,
    coco,
    paco,
    partimagenet,
    pascal_part,
)
from unires_jax.engine.part_sources.coco_file import CocoFile
from unires_jax.engine.part_sources.form import Asked, Form, WrongForm
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.engine.part_sources.output import Output, Task, tell
from unires_jax.errors import DataError, Kind
from unires_jax.files import ANNOTATIONS, local
from unires_jax.pixels import orientation
from unires_jax.prepare.mres import jsonl
from unires_jax.prepare.rejects import MAX_BAD_SHARE, REJECTED, Rejects

FORMS = {
    form.FORM.name: form.FORM
    for form in (paco, pascal_part, partimagenet, ade20k, coco)
}
# What tells the forms of COCO JSON apart.
_SIGNS: Mapping[str, Callable[[CocoFile], bool]] = {
    "paco": paco.matches,
    "ade20k": ade20k_part_234.matches,
    "partimagenet": partimagenet.matches,
    "pascal_part": pascal_part.matches,
}


def recognise(path: Path) -> str:
    """The form of an input; "" where it is none, or any COCO JSON."""
    if path.is_dir():
        if next(path.rglob(f"*{ade20k.END}"), None):
            return "ade20k"
        return "pascal_part" if next(path.rglob("*.mat"), None) else ""
    try:
        with JsonLists.open(path) as lists:
            file = CocoFile(lists, Rejects())
            for name, matches in _SIGNS.items():
                if matches(file):
                    return name
            return "coco"
    except DataError:
        return ""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code; raises UserError."""
    parser = arguments(
        "unires engine parts",
        "Part annotations that exist as MRES JSONL with templated texts, for `unires "
        "build mres32m`. No model is asked.",
        FORMS,
    )
    return convert(parser.parse_args(argv), FORMS, recognise)


def arguments(
    command: str, description: str, forms: Mapping[str, Form]
) -> argparse.ArgumentParser:
    """The options that `parts` and `import` share."""
    rows = "\n".join(
        f"  {f.name:13}{f.title}: {f.takes}; licence: {f.licence}"
        for f in forms.values()
    )
    example = next(iter(forms))
    parser = argparse.ArgumentParser(
        prog=command,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=description,
        epilog=f"forms:\n{rows}\n\nexample:\n  {command} --form {example} "
        "train.json --pictures photos --out mine\n  unires doctor mine\n"
        "  unires build mres32m --raw mine --data_dir data",
    )
    parser.add_argument("source", help="the file or folder of annotations")
    parser.add_argument("--form", required=True, choices=list(forms))
    parser.add_argument(
        "--pictures",
        help="folder of the pictures that it names; default: that of the source",
    )
    parser.add_argument(
        "--follow_links",
        action="store_true",
        help="let links lead out of the folders of source and pictures",
    )
    parser.add_argument("--out", required=True, help="folder of the lines")
    parser.add_argument(
        "--split",
        help="its name; default: a word of the name of the source, or of its "
        "folder, else train",
    )
    parser.add_argument(
        "--exhaustive",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether every thing of its categories is marked, so that one alone in "
        "its picture can go by its name; default: by form",
    )
    parser.add_argument(
        "--orientation",
        choices=orientation.MASKS,
        help="the pixels that masks belong to where a picture states an EXIF "
        "orientation; default: by form",
    )
    parser.add_argument(
        "--embed", action="store_true", help="put the pictures into the lines"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace lines of another source"
    )
    parser.add_argument(
        "--max_bad_share",
        type=float,
        default=MAX_BAD_SHARE,
        help="of pictures and annotations, how many may be unusable",
    )
    return parser


def convert(
    args: argparse.Namespace,
    forms: Mapping[str, Form],
    recognised: Callable[[Path], str],
    columns: Mapping[str, str] = {},
) -> int:
    """Read a source and write its lines. Raises DataError naming the form it has.

    `columns` are those that the user names, by role, of forms that have some.
    """
    form, source, out = forms[args.form], local(args.source), local(args.out)
    if not source.exists():
        raise DataError(
            "no such file or folder", place=str(source), kind=Kind.FILE_MISSING
        )
    every = form.every if args.exhaustive is None else args.exhaustive
    belong = orientation.checked(
        args.orientation or ("upright" if form.upright else "stored")
    )
    pictures = local(args.pictures) if args.pictures else beside(source)
    split = args.split or form.split(source) or split_of(source)
    task = Task(
        *(form, source, pictures, out, split, every, belong),
        embed=args.embed,
        overwrite=args.overwrite,
        follow_links=args.follow_links,
        sentences=getattr(args, "sentences", "both"),
    )
    asked = Asked(pictures, args.split or "", columns, args.follow_links)
    task.require_own()
    rejects = Rejects(task.told / REJECTED, args.max_bad_share)
    output = Output(task, rejects)
    try:
        more = (asked,) if form.asks else ()
        with form.open(source, rejects, *more) as opened:
            summary = output.write(opened)
    except WrongForm as error:
        right = recognised(source)
        if right in ("", form.name):
            raise
        raise WrongForm(
            f"is no input of --form {form.name} ({error.text}); it looks like --form "
            f"{right}",
            place=str(source),
        ) from None
    tell(summary, rejects)
    return 0


def beside(source: Path) -> Path:
    """Where the pictures of a source are, unless that is said.

    In it or beside it; beside the folder of annotations, as CVAT and COCO have them:
    `images/default` or `images` for `annotations/instances_default.json`, `train2017`
    for `annotations/instances_train2017.json`.
    """
    if source.is_dir():
        return source
    folder, subset = source.parent, source.name.split(".")[0].rpartition("_")[2]
    if folder.name.lower() in ANNOTATIONS:
        above = folder.parent
        for place in (above / "images" / subset, above / subset, above / "images"):
            if subset and place.is_dir():
                return place
    return folder


def split_of(source: Path) -> str:
    """The split that a name says by a word ("paco_lvis_v1_val.json"), else train.

    Else the name of its folder may be that of a split: "valid/_annotations.coco.json".
    """
    words = re.split(r"[^A-Za-z]+", source.name.lower())
    said = {jsonl.SPLIT_WORDS[word] for word in words if word in jsonl.SPLIT_WORDS}
    if len(said) == 1:
        return said.pop()
    return jsonl.SPLIT_WORDS.get(source.absolute().parent.name.lower(), "train")
