"""`unires predict`: masks for sentences about one's own pictures, as files.

    unires predict photo.jpg "the truck" "wheels of the truck" --out masks
    unires predict photos/ "the dog" --out masks         # every picture of a folder
    unires predict "photos/**/*.jpg" - < sentences.txt   # a sentence a line

For each picture NAME: NAME.overlay.png (one colour for each expression, and a legend),
NAME.<n>.png (its masks, 0 or 255, at the picture's own size) and NAME.json (scores,
boxes, areas, COCO RLE).
"""

import argparse
import glob
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from unires_jax.errors import ConfigError, DataError, shorten
from unires_jax.files import local, write_whole
from unires_jax.inference.segment import Segment
from unires_jax.serving import overlay
from unires_jax.serving.command_line import make_parser, start
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import EncodedImage

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"}


def main(argv: Sequence[str]) -> int:
    """Answer the command line; 1 if a picture could not be used."""
    args = _parser().parse_args(argv)
    out = local(args.out)
    paths = find_pictures(args.pictures)
    sentences = _sentences(args.sentences)
    model = start(args)
    names = _names(paths)
    failed, notes = 0, dict[str, str]()
    bar = tqdm(paths, unit="picture", disable=len(paths) == 1)
    for path in bar:
        try:
            image = model.encode_image(path)
            answers = model.segment(image, sentences)
        except DataError as error:
            failed += 1
            bar.write(f"error: {error}", file=sys.stderr)
            continue
        picture = write(out, names[path], image, answers)
        notes |= {a.expression: a.note for a in answers if a.note}
        if len(paths) == 1:
            _print(image, answers, picture)
        if args.show:
            Image.open(picture).show()
    for sentence, note in notes.items():
        print(f"note: {shorten(sentence, 60)!r}: {note}")
    if len(paths) > 1:
        print(f"{args.out}: {len(paths) - failed} pictures, {failed} could not be used")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("predict", __doc__)
    parser.add_argument("pictures", help="a picture, a folder of them, or a glob")
    parser.add_argument(
        "sentences",
        nargs="+",
        help="expressions; - reads them, one a line, from standard input",
    )
    parser.add_argument("--out", default="masks", help="folder for what is written")
    parser.add_argument("--show", action="store_true", help="open each overlay")
    return parser


def find_pictures(pattern: str) -> list[Path]:
    """The pictures of a path, a folder or a glob, sorted. Raises DataError if none."""
    path = Path(pattern)
    if path.is_file():
        return [path]
    if path.is_dir():
        pictures = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES]
        fault = f"no picture in this folder ({', '.join(sorted(SUFFIXES))})"
    else:
        matches = map(Path, glob.glob(pattern, recursive=True))
        pictures = [p for p in matches if p.is_file()]
        fault = "no such file or folder, and no file matches it as a glob"
    if not pictures:
        raise DataError(fault, place=pattern)
    return sorted(pictures)


def _sentences(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the lines of standard input in place of a -."""
    if "-" not in arguments:
        return list(arguments)
    lines = [line.strip() for line in sys.stdin]
    at = list(arguments).index("-")
    sentences = [*arguments[:at], *filter(None, lines), *arguments[at + 1 :]]
    if not sentences:
        raise DataError("no sentence; expected one a line", place="standard input")
    return sentences


def _names(paths: Sequence[Path]) -> dict[Path, Path]:
    """What each picture's files are called below the output folder."""
    top = Path(os.path.commonpath([p.parent.resolve() for p in paths]))
    return {
        p: p.resolve().relative_to(top) if len(paths) > 1 else Path(p.name)
        for p in paths
    }


def write(
    out: Path, name: Path, image: EncodedImage, answers: Sequence[Segment]
) -> Path:
    """Write a picture's overlay, masks and JSON; returns the overlay's path.

    Files are written under a temporary name and renamed. Raises ConfigError if the
    folder cannot be written.
    """
    about = [
        a.to_json() | {"mask": f"{name.name}.{i}.png"} for i, a in enumerate(answers)
    ]
    files = {f"{name}.{i}.png": encode_png(a.mask) for i, a in enumerate(answers)}
    height, width = image.pixels.shape[:2]
    head = {"picture": str(name), "height": height, "width": width, "note": image.note}
    text = json.dumps(head | {"expressions": about}, indent=1, ensure_ascii=False)
    files[f"{name}.json"] = text.encode()
    files[f"{name}.overlay.png"] = encode_png(
        overlay.with_legend(image.pixels, answers)
    )
    try:
        for file, data in files.items():
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            write_whole(out / file, data)
    except OSError as error:
        raise ConfigError(f"--out={out}: cannot be written: {error}") from None
    return out / f"{name}.overlay.png"


def _print(image: EncodedImage, answers: Sequence[Segment], picture: Path) -> None:
    table = Table(box=None, pad_edge=False)
    for head in ("", "expression", "score", "area", "box x y w h"):
        table.add_column(
            head, justify="left" if head in ("", "expression") else "right"
        )
    pixels = image.pixels.shape[0] * image.pixels.shape[1]
    for i, a in enumerate(answers):
        swatch = Text("██", style="rgb({},{},{})".format(*overlay.colour(i)))
        score = "nothing here" if a.no_target else f"{a.score:.2f}"
        box = " ".join(map(str, a.box))
        table.add_row(swatch, Text(a.expression), score, f"{a.area / pixels:.1%}", box)
    console = Console()
    if image.note:
        console.print(f"note: {image.note}", highlight=False)
    console.print(table)
    console.print(f"{picture}", highlight=False, soft_wrap=True)
