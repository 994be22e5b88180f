"""Which parts things have: the shipped vocabulary, a team's own, and their command.

vocabulary.json holds names as facts, each with its source: the part categories of
PACO-LVIS, Pascal-Part (as VLPart and OV-PARTS list it) and ADE20K-Part-234. A file of
one's own is {"kettle": ["handle", "spout", "lid"]}.

unires engine vocab car                                  parts of a car
unires engine vocab --list                               every category
unires engine vocab --add "kettle: handle, spout, lid" --file my_vocab.json
unires engine vocab --coverage my_plan                   what a plan lacks
"""

import argparse
import collections
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from unires_jax import documents
from unires_jax.engine import shard_files
from unires_jax.engine.english import plural
from unires_jax.engine.part_sources.names import clean_category, clean_part
from unires_jax.engine.stages import PLAN
from unires_jax.errors import DataError, UsageError, printable, shorten
from unires_jax.files import local, write_whole
from unires_jax.terminal import console

SHIPPED = "vocabulary.json"
SCHEMA = "unires-vocabulary/1"
PACO, PASCAL_PART, ADE20K = "paco", "pascal_part", "ade20k"
_NAME = 100  # characters of a name; ours
_LINE = re.compile(r"^(?P<category>[^:]+):(?P<parts>[^:]+)$")

_UNSEEN = ("gaze", "highlight")  # ADE20K lists them; they are no parts; ours
# Whose last word, or singular, is another thing.
_MISNOMERS = ("glasses", "hot dog", "eyeglasses", "sunglasses")
# What has the parts of another category; ours.
_LIKE = {"couch": "sofa", "gas stove": "cooking stove", "washing machine": "washer"}
_LIKE |= dict.fromkeys(("boots", "high heels", "sandals", "sneakers"), "shoe")
_LIKE |= dict.fromkeys(("donkey", "zebra", "pony"), "horse")
_LIKE |= dict.fromkeys(("chicken", "duck", "goose", "parrot", "penguin"), "bird")
_LIKE |= {"pigeon": "bird", "swan": "bird", "lion": "cat", "suv": "car"}

Entries = dict[str, dict[str, str]]  # parts of a category, each with its sources


@functools.cache
def _shipped() -> dict[str, Any]:
    text = resources.files("unires_jax.engine").joinpath(SHIPPED).read_text()
    sources: dict[str, Any] = documents.load(text)["sources"]
    return sources


def pairs(source: str) -> list[tuple[str, str]]:
    """Category and part as a source writes them, in its own order."""
    parts = _shipped()[source]["parts"]
    return [(category, part) for category in parts for part in parts[category]]


def entries(file: str | Path | None = None) -> Entries:
    """The shipped vocabulary, names cleaned, and that of a file of one's own.

    Raises DataError naming the file and what is wrong in it.
    """
    merged: Entries = {}
    for source, content in _shipped().items():
        _add(merged, content["parts"], source)
    if file is not None:
        _add(merged, read(file), Path(file).stem)
    return merged


def _add(entries: Entries, parts: Mapping[str, Sequence[str]], source: str) -> None:
    for category, names in parts.items():
        own = entries.setdefault(clean_category(category), {})
        for name in map(clean_part, names):
            if name not in _UNSEEN and source not in own.get(name, "").split(" "):
                own[name] = f"{own.get(name, '')} {source}".lstrip()


def find(category: str, known: Entries) -> tuple[str, dict[str, str]]:
    """The entry of a category and its parts; "" and none where there is none.

    Else that of a like thing, or of which it is the plural ("slippers"), else that of
    its last words: a fire truck has the parts of a truck. Source: ours.
    """
    name = clean_category(category)
    name = name if name in known else _LIKE.get(name, name)
    if name in _MISNOMERS or name in known:
        return (name, known[name]) if name in known else ("", {})
    words = name.split()
    for start in range(len(words)):
        end = " ".join(words[start:])
        for entry in (end, *_singulars(end)):
            if entry in known:
                return entry, known[entry]
    return "", {}


def _singulars(name: str) -> tuple[str, ...]:
    """Of which words a name may be the plural."""
    forms = (name.removesuffix("s"), name.removesuffix("es"), f"{name[:-3]}y")
    return tuple(form for form in forms if form != name and plural(form) == name)


def read(file: str | Path) -> dict[str, list[str]]:
    """A vocabulary of one's own: categories to names of parts. Raises DataError."""
    content = documents.read_object(file)
    for category, names in content.items():
        words = [category, *names] if isinstance(names, list) else [category, None]
        for word in words:
            if not isinstance(word, str) or not _is_name(word):
                raise DataError(
                    f"{shorten(category)!r}: expected a category and a list of names "
                    f"of parts of at most {_NAME} letters, as "
                    '{"kettle": ["handle", "lid"]}',
                    place=str(file),
                )
    return content


def _is_name(text: str) -> bool:
    return bool(text.strip()) and len(text) <= _NAME and text.isprintable()


def main(argv: Sequence[str]) -> int:
    """`unires engine vocab`. Returns the exit code; raises UserError."""
    parser = _parser()
    args = parser.parse_args(argv)
    edits = args.add or args.remove or args.merge
    if not (args.categories or args.list or edits or args.coverage):
        parser.print_help()
        return 2
    file = local(args.file) if args.file else None
    if edits:
        if file is None:
            raise UsageError("name the file that is changed with --file my_vocab.json")
        edit(file, args.merge, args.add, args.remove)
    known = entries(file)
    if args.list:
        for category in sorted(known):
            print(printable(f"{category}: {', '.join(known[category])}"))
        parts = {part for names in known.values() for part in names}
        total = sum(map(len, known.values()))
        print(f"{len(known)} categories, {total} pairs, {len(parts)} names of parts")
    if args.categories:
        _show(args.categories, known)
    if args.coverage:
        _cover(local(args.coverage), known)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unires engine vocab",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
    )
    parser.add_argument("categories", nargs="*", help="whose parts to show")
    parser.add_argument("--list", action="store_true", help="every category")
    parser.add_argument("--file", help="a vocabulary of one's own, added to ours")
    for name, value, meaning in (
        ("--add", "CATEGORY: PART, PART", "add to --file; again for more"),
        ("--remove", "CATEGORY: PART", "take out of --file; again for more"),
        ("--merge", "FILE", "add another file to --file; again for more"),
    ):
        parser.add_argument(
            name, action="append", default=[], metavar=value, help=meaning
        )
    parser.add_argument(
        "--coverage", metavar="DIR", help="which categories of a plan have no entry"
    )
    return parser


def edit(
    file: Path, merge: Sequence[str], lines: Sequence[str], removed: Sequence[str]
) -> None:
    """Change a file of one's own, which is made where there is none.

    Files of `merge` are added to it, then lines such as "kettle: handle, spout"; lines
    of `removed` (or categories alone) are taken out. Raises UsageError for a line of
    another form, DataError for a file that is none.
    """
    own = read(file) if file.exists() else {}
    additions = [item for other in merge for item in read(local(other)).items()]
    for category, names in [*additions, *map(_parsed, lines)]:
        known = own.setdefault(category, [])
        known += [name for name in names if name not in known]
    for line in removed:
        category, names = _parsed(line) if ":" in line else (line.strip(), [])
        if category not in own:
            raise UsageError(f"--remove {line!r}: {file} has no such category")
        left = [name for name in own.pop(category) if names and name not in names]
        own |= {category: left} if left else {}
    write_whole(file, json.dumps(own, indent=1, ensure_ascii=False) + "\n")
    print(printable(f"{file}: {len(own)} categories"))


def _parsed(line: str) -> tuple[str, list[str]]:
    match = _LINE.match(line)
    names = [n.strip() for n in match["parts"].split(",")] if match else []
    if match is None or not all(map(_is_name, [match["category"], *names])):
        raise UsageError(f'{line!r}: expected "kettle: handle, spout, lid"')
    return match["category"].strip(), names


def _show(categories: Sequence[str], known: Entries) -> None:
    from rich.table import Table

    table = Table("category", "part", "source")
    for category in categories:
        entry, parts = find(category, known)
        if not parts:
            print(printable(f"{category}: no entry; {_remedy(category)}"))
        elif entry != clean_category(category):
            print(printable(f"{category}: as {entry}"))
        for part, source in parts.items():
            table.add_row(entry, part, source)
    if table.row_count:
        console().print(table)


def _remedy(category: str) -> str:
    return (
        f'add it with --add "{category}: part, part" --file my_vocab.json, or ask a '
        "model (models.vocabulary=causal_lm:...)"
    )


def _cover(out: Path, known: Entries) -> None:
    """Print which categories of a plan's boxes have parts, the frequent ones first."""
    counts = collections.Counter(_categories(out))
    absent = {c: n for c, n in counts.most_common() if not find(c, known)[1]}
    boxes = sum(counts.values())
    print(
        f"{len(counts) - len(absent)} of {len(counts)} categories have an entry, with "
        f"{boxes - sum(absent.values()):,} of {boxes:,} boxes"
    )
    for category, count in absent.items():
        print(printable(f"no entry: {category} ({count:,} boxes)"))


def _categories(out: Path) -> Iterator[str]:
    for path in shard_files.paths(out, PLAN):
        for picture in shard_files.read(path):
            yield from (region.category for region in picture.regions)
