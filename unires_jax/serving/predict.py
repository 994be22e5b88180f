"""`unires predict`: masks for sentences about one's own pictures, as files.

    unires predict photo.jpg "the truck" "wheels of the truck" --out masks
    unires predict a.jpg b.jpg "the dog"                 # pictures, then sentences
    unires predict photos/ "the dog" --out masks         # every picture of a folder
    unires predict "photos/**/*.jpg" - < sentences.txt   # a sentence a line

For each picture NAME: NAME.overlay.png (one colour for each expression, and a legend),
NAME.<n>.png (its masks, 0 or 255, at the picture's own size) and NAME.json (scores,
boxes, areas, COCO RLE). Pictures that look unlike those that the model was trained on
are told. All answers together go into one file with --jsonl, --coco or
--label_studio.
"""

import argparse
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from unires_jax import lock, terminal
from unires_jax.errors import ConfigError, DataError, UsageError, printable, shorten
from unires_jax.files import local, matching, write_together
from unires_jax.inference.segment import Segment
from unires_jax.pixels.rgb import SUFFIXES
from unires_jax.serving import overlay
from unires_jax.serving.command_line import make_parser, start
from unires_jax.serving.listing import (
    Answered,
    write_coco,
    write_jsonl,
    write_label_studio,
)
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import EncodedImage

# Pictures that cannot be read here.
UNREADABLE = {".heic", ".heif", ".jp2", ".jxl", ".dng", ".cr2", ".nef", ".arw", ".psd"}
NAMED = 3  # folders or pictures that are named; ours


def main(argv: Sequence[str]) -> int:
    """Answer the command line; 1 if a picture could not be used."""
    args = _parser().parse_args(argv)
    out = local(args.out)
    places, sentences = _split(args.words)
    named = dict[Path, None]()  # each once
    for place in places:
        pictures, others = find_pictures(place)
        named |= dict.fromkeys(pictures)
        if others:
            print(f"note: {printable(others)}", file=sys.stderr)
    paths = [*named]
    sentences = _sentences(sentences)
    model = start(args)
    names = _names(paths)
    failed, notes = 0, dict[str, str]()
    listed, unlike = list[Answered](), dict[Path, str]()
    bar = tqdm(total=len(paths), unit="picture", disable=len(paths) == 1)

    def tell(_: int, error: DataError) -> None:
        nonlocal failed
        failed += 1
        bar.update()
        bar.write(f"error: {terminal.indented(str(error))}", file=sys.stderr)

    pairs = ((path, sentences) for path in paths)
    with bar:
        for number, image, segments in model.segment_pairs(pairs, on_error=tell):
            answers = [segment.at(args.threshold) for segment in segments]
            picture = write(out, names[paths[number]], image, answers)
            if args.jsonl or args.coco or args.label_studio:
                height, width = image.pixels.shape[:2]
                rows = [answer.to_json() for answer in answers]
                name = str(names[paths[number]])
                listed.append(Answered(name, height, width, rows, image.unlike))
            if image.unlike:
                unlike[paths[number]] = image.unlike
            notes |= {a.expression: a.note for a in answers if a.note}
            bar.update()
            if len(paths) == 1:
                _print(image, answers, picture)
            if args.show:
                Image.open(picture).show()
    if args.jsonl:
        write_jsonl(local(args.jsonl), listed)
    if args.coco:
        write_coco(local(args.coco), listed)
    if args.label_studio:
        from unires_jax import __version__

        name = f"unires_jax {__version__} {model.about['name']}"
        write_label_studio(
            local(args.label_studio), listed, root=args.root, version=name
        )
    for sentence, note in notes.items():
        print(f"note: {shorten(sentence, 60)!r}: {note}")
    _warn(unlike, len(paths))
    if len(paths) > 1:
        print(f"{args.out}: {len(paths) - failed} pictures, {failed} could not be used")
    return 1 if failed else 0


def _warn(unlike: dict[Path, str], count: int) -> None:
    """Say on stderr which of so many pictures the model was not made for."""
    if not unlike:
        return
    text = next(iter(unlike.values()))
    if count > 1:
        names = printable(", ".join(path.name for path in [*unlike][:NAMED]))
        more = ", ..." if len(unlike) > NAMED else ""
        text = f"{len(unlike)} of {count} pictures ({names}{more}): {text}"
    print(f"warning: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("predict", __doc__)
    parser.add_argument(
        "words",
        nargs="+",
        metavar="PICTURE ... SENTENCE ...",
        help="pictures, folders of them or globs; then expressions, of which - reads "
        "more, one a line, from standard input",
    )
    parser.add_argument("--out", default="masks", help="folder for what is written")
    parser.add_argument(
        "--threshold",
        type=_threshold,
        default=0.5,
        help="probability above which a pixel belongs to a mask; default: 0.5",
    )
    parser.add_argument(
        "--jsonl", default="", metavar="FILE", help="all answers, a line an expression"
    )
    parser.add_argument(
        "--coco",
        default="",
        metavar="FILE",
        help="all answers as COCO's JSON, every expression a category",
    )
    parser.add_argument(
        "--label_studio",
        default="",
        metavar="FILE",
        help="all answers as Label Studio's tasks with pre-annotations",
    )
    parser.add_argument(
        "--root",
        default="",
        help="what Label Studio finds the pictures below: an address, or "
        "'/data/local-files/?d=photos/'",
    )
    parser.add_argument("--show", action="store_true", help="open each overlay")
    return parser


def _threshold(text: str) -> float:
    """A number between 0 and 1. Raises what argparse expects."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 1")
    return value


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What the command line means by pictures, and by sentences.

    The first is a picture, and so is what exists of those that follow. Raises
    UsageError where no sentence is left, and for a sentence that is a file, or is
    called as a picture is.
    """
    count = 1
    while count < len(words) and _exists(words[count]):
        count += 1
    for text in words[count:]:
        if _exists(text):
            raise UsageError(
                f"{text!r} stands among the sentences and is a file; pictures come "
                "first (for the sentence, give a - and write it to standard input)"
            )
        if Path(text).suffix.lower() in SUFFIXES | UNREADABLE:
            raise UsageError(f"{text}: no such file; it is called as a picture is")
    if count == len(words):
        raise UsageError(
            f"no sentence follows {shorten(words[-1])!r}; what is meant in the picture?"
        )
    return list(words[:count]), list(words[count:])


def _exists(text: str) -> bool:
    try:
        return text != "-" and Path(text).exists()
    except (OSError, ValueError):  # too long for a name
        return False


def find_pictures(pattern: str) -> tuple[list[Path], str]:
    """The pictures of a path, a folder or a glob, sorted, and what is passed over.

    Raises DataError if there are none.
    """
    path = local(pattern)
    if os.path.isfile(path):
        return [path], ""
    if os.path.isdir(path):
        paths = sorted(path.iterdir())
        fault = f"no picture in this folder ({', '.join(sorted(SUFFIXES))})"
    else:
        paths = matching(pattern)
        fault = "no such file or folder, and no file matches it as a glob"
    pictures = [p for p in paths if p.is_file() and _is_picture(p)]
    taken = {*pictures}
    others = _passed_over([p for p in paths if p not in taken])
    if not pictures:
        raise DataError("; ".join(filter(None, (fault, others))), place=pattern)
    return pictures, others


def _is_picture(path: Path) -> bool:
    """Whether a name is a picture's; a dot first is macOS's or a tool's own file."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _passed_over(paths: Sequence[Path]) -> str:
    """What is no picture that can be read, in words; "" if there is nothing."""
    folders = [path for path in paths if path.is_dir()]
    kinds = Counter(_kind(path) for path in paths if not path.is_dir())
    words = [f"{count} {kind}" for kind, count in kinds.most_common()]
    if folders:
        names = ", ".join(repr(path.name) for path in folders[:NAMED])
        words.append(
            f"{len(folders)} folders within ({names}; a glob such as 'DIR/**/*' takes "
            "them)"
        )
    return f"passed over: {', '.join(words)}" if words else ""


def _kind(path: Path) -> str:
    """What a file that is passed over is called: by its suffix."""
    if path.name.startswith("."):
        return "hidden"
    if path.suffix.lower() in UNREADABLE:
        return f"{path.suffix} (convert them to JPEG or PNG)"
    return path.suffix or "without a suffix"


def _sentences(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the lines of standard input in place of a -."""
    arguments = [_as_meant(text) for text in arguments]
    if "-" not in arguments:
        return arguments
    try:
        lines = [_as_meant(line).strip().lstrip("\ufeff") for line in sys.stdin]
    except UnicodeDecodeError as error:
        raise DataError(
            f"is no UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8",
            place="standard input",
        ) from None
    at = arguments.index("-")
    sentences = [*arguments[:at], *filter(None, lines), *arguments[at + 1 :]]
    if not sentences:
        raise DataError("no sentence; expected one a line", place="standard input")
    return sentences


def _as_meant(text: str) -> str:
    """UTF-8 that a terminal called C or POSIX gave as bytes that are no text."""
    with contextlib.suppress(UnicodeError):
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    return text  # refused, as no valid Unicode


def _names(paths: Sequence[Path]) -> dict[Path, Path]:
    """What each picture's files are called below the output folder."""
    top = Path(os.path.commonpath([p.parent.resolve() for p in paths]))
    return {  # a picture that is a link goes by its own name
        p: (p.parent.resolve() / p.name).relative_to(top) for p in paths
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
    files: dict[str, str | bytes] = {
        f"{name}.{i}.png": encode_png(a.mask) for i, a in enumerate(answers)
    }
    height, width = image.pixels.shape[:2]
    head = {"picture": str(name), "height": height, "width": width}
    head |= {"note": image.note, "unlike": image.unlike}
    text = json.dumps(head | {"expressions": about}, indent=1, ensure_ascii=False)
    files[f"{name}.json"] = text
    files[f"{name}.overlay.png"] = encode_png(
        overlay.with_legend(image.pixels, answers)
    )
    try:
        place = (out / name).parent
        place.mkdir(parents=True, exist_ok=True)
        with lock.hold_folder(place, "prediction", wait=True):  # all of one answer
            write_together(place, {Path(f).name: data for f, data in files.items()})
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
        score = "?" if image.unlike else score
        box = " ".join(map(str, a.box))
        table.add_row(
            swatch,
            Text(shorten(a.expression, 1000)),
            score,
            f"{a.area / pixels:.1%}",
            box,
        )
    console = terminal.console()
    if image.note:
        console.print(f"note: {image.note}", highlight=False)
    console.print(table)
    console.print(printable(str(picture)), highlight=False, soft_wrap=True)
