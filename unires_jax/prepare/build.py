"""`unires build NAME`: prepare a data set with its TFDS builder, without TensorFlow.

The options of the builder are the command's. Where it carries `tokenizer_vocab`, a
tokenizer of that size is trained on its train split and stored beside the data.
"""

import argparse
import contextlib
import functools
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from unires_jax import disk, documents, lock
from unires_jax.data import summary
from unires_jax.data.prepared import (
    INCOMPLETE,
    INFO_FILE,
    TOKENIZER_FILE,
    PreparedSplit,
)
from unires_jax.errors import DataError, printable
from unires_jax.files import absolute, local, naming, require_text
from unires_jax.prepare import origin
from unires_jax.prepare.builders import (
    builder_names,
    builder_options,
    choose,
    lasting,
    load_builder,
    option_meanings,
)
from unires_jax.prepare.origin import Origin
from unires_jax.prepare.shards import PROGRESS
from unires_jax.prepare.sources.pictures import SPOOL

OPTIONS_FILE = "build_options.json"
ORIGIN = "origin"  # in that file: what the sources were then
# Options that builders got later, and what was done before.
ADDED = {"orientation": "stored", "images": "", "follow_links": False, "vocab": 0}


def build(
    name: str,
    data_dir: str | Path = "data",
    *,
    datasets_dir: str | Path | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Prepare a data set as ArrayRecord and return its versioned folder.

    A folder built before with the same options is kept. Raises DataError for an
    unknown name or option (naming the nearest), for a folder built with other options
    or from other raw files unless `overwrite` is given; ConfigError while another
    process builds there; StorageError where it cannot be written.
    """
    require_text(absolute(local(data_dir)))
    cls = load_builder(name, datasets_dir)
    chosen = choose(name, cls, options)
    builder = cls(data_dir=str(local(data_dir)), file_format="array_record", **chosen)
    folder = Path(builder.data_path)
    with _told(builder, folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock.hold_folder(folder.parent, "build") as alone:
            if alone:
                _tidy(folder)
            _prepare(builder, folder, lasting(cls, chosen), overwrite)
            _train_tokenizer(folder, getattr(builder, "tokenizer_vocab", 0))
    return folder


@contextlib.contextmanager
def _told(builder: Any, folder: Path) -> Iterator[None]:
    """A disk without room for a build is told with what it takes and what is kept."""
    try:
        yield
    except Exception as error:
        refused = disk.explain(error)
        if not isinstance(refused, disk.DiskFullError):
            raise
        written = getattr(builder, "written_bytes", 0)
        share = float(getattr(builder, "share_done", 0.0))
        needed = f"more than {disk.size(written)}"
        if 0 < share < 1:
            needed = f"about {disk.size(written / share)}"
        raise disk.DiskFullError(
            f"{refused.text}. The data takes {needed}, {disk.size(written)} were "
            f"written; {getattr(builder, 'kept', 'nothing of it is kept')}. With room, "
            "or with another --data_dir, run the same command again",
            place=refused.place or str(folder),
        ) from error


def _tidy(folder: Path) -> None:
    """Remove what killed builds of this folder left in it and beside it."""
    for pattern in (f"{INCOMPLETE}*_{folder.name}", f"{SPOOL}*"):
        for path in folder.parent.glob(pattern):
            shutil.rmtree(path)
    shutil.rmtree(folder / PROGRESS, ignore_errors=True)
    for path in folder.glob("*.tmp"):
        path.unlink()


def _prepare(
    builder: Any, folder: Path, options: dict[str, Any], overwrite: bool
) -> None:
    """Build the folder with these options, unless it is there."""
    import tensorflow_datasets as tfds

    # Written beside first: a build that is killed has its options or no name.
    pending = folder.with_name(f".{folder.name}.{OPTIONS_FILE}")
    sources = origin.describe(options, besides=Path(builder._data_dir_root))
    if folder.exists() and not overwrite:
        if pending.exists() and not (folder / OPTIONS_FILE).exists():
            os.replace(pending, folder / OPTIONS_FILE)
        _require_same(folder, options, sources)
        print(f"{printable(str(folder))} is already built")
    else:
        if folder.exists():
            _require_data_set(folder)
        mode = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS
        config = tfds.download.DownloadConfig(download_mode=mode)
        tfds.disable_progress_bar()  # builders count their own scenes or images
        builder._log_download_bytes = builder._log_download_done = lambda: None
        builder._download_and_prepare = _summarized(builder)
        made_of = {ORIGIN: sources} if sources else {}
        with naming(pending):
            pending.write_text(json.dumps(options | made_of, indent=1))
        try:
            with tempfile.TemporaryDirectory() as unused:  # nothing is downloaded
                builder.download_and_prepare(
                    download_dir=unused, download_config=config
                )
            os.replace(pending, folder / OPTIONS_FILE)
        finally:
            pending.unlink(missing_ok=True)  # also of a build that stopped
        print(f"{printable(str(folder))} is built")


def _summarized(builder: Any) -> Callable[..., None]:
    """TFDS's writing of a folder that has no name yet, with what a start needs to know.

    A builder that writes its folder itself does this itself too.
    """
    write_records = builder._download_and_prepare

    def write(*args: Any, **kwargs: Any) -> None:
        try:
            write_records(*args, **kwargs)
        except Exception:  # TFDS is about to remove it
            builder.written_bytes = _size(Path(builder.data_dir))
            raise
        builder.info.write_to_directory(builder.data_dir)  # TFDS will do so again
        summary.store(builder.data_dir)

    return write


def _size(folder: Path) -> int:
    """Bytes of the files below a folder that others may be removing."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _require_same(folder: Path, chosen: dict[str, Any], sources: Origin) -> None:
    _require_data_set(folder)
    path = folder / OPTIONS_FILE
    built = documents.read_object(path) if path.exists() else {}
    before = built.pop(ORIGIN, {})
    if built:  # by a version that had fewer options: what it did is their default
        built = {k: v for k, v in ADDED.items() if k in chosen} | built
    same = {k for k in sources if before.get(k) == sources[k]}  # by whatever path
    differ = [
        k
        for k in {**built, **chosen}
        if built.get(k) != chosen.get(k) and k not in same
    ]
    if differ:
        old, new = ({k: x.get(k) for k in differ} for x in (built, chosen))
        raise DataError(
            f"{folder} was built with {old}, now asked for {new}; "
            "pass --overwrite to replace it, or another --data_dir"
        )
    if changed := origin.changes(before, sources):
        raise DataError(
            f"{folder} is older than its source: {changed}; pass --overwrite to build "
            "it again, or another --data_dir"
        )


def _require_data_set(folder: Path) -> None:
    """Raise DataError for what no build made, and none may replace."""
    if not (folder / INFO_FILE).is_file():
        raise DataError(
            f"is there and is no prepared data set (no {INFO_FILE}); move it away, or "
            "take another --data_dir",
            place=str(folder),
        )


def _train_tokenizer(folder: Path, vocab: int) -> None:
    if not vocab or (folder / TOKENIZER_FILE).exists():
        return
    from unires_jax.data.tokenizer import train_bpe

    split = PreparedSplit(str(folder), "train")
    records = (split[index] for index in range(len(split)))
    captions = (expression.sent for r in records for expression in r.expressions)
    train_bpe(captions, folder / TOKENIZER_FILE, vocab)


def main(argv: Sequence[str]) -> int:
    """`unires build NAME [--data_dir data] [--overwrite] [--<option> value ...]`."""
    parser = _parser()
    args, _ = _parse(parser, argv)
    if not args.name:
        parser.epilog = f"data sets: {', '.join(builder_names(args.datasets_dir))}"
        parser.print_help()
        return 0 if args.help else 2
    cls = load_builder(args.name, args.datasets_dir)
    names = _add_options(parser, args.name, cls)
    if args.help:
        parser.print_help()
        return 0
    args, others = _parse(parser, argv)
    options = {name: getattr(args, name) for name in names if hasattr(args, name)}
    build(
        args.name,
        args.data_dir,
        datasets_dir=args.datasets_dir,
        overwrite=args.overwrite,
        **options,
        **_unknown(others),
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unires build",
        usage="unires build NAME [--data_dir DIR] [--overwrite] [--<option> value ...]",
        formatter_class=functools.partial(
            argparse.RawDescriptionHelpFormatter, max_help_position=4, width=80
        ),
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("name", nargs="?", help="a folder of datasets/")
    parser.add_argument("--data_dir", default="data", help="default: data")
    parser.add_argument("--datasets_dir", help="folder of the builders")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is there"
    )
    parser.add_argument("-h", "--help", action="store_true")
    return parser


def _add_options(parser: argparse.ArgumentParser, name: str, cls: type) -> list[str]:
    """Make a builder's options those of the command; their names."""
    group = parser.add_argument_group(f"options of {name}", inspect.getdoc(cls))
    options, meanings = builder_options(cls), option_meanings(cls)
    for option, default in options.items():
        # A switch may stand alone: --follow_links is --follow_links=true.
        switch: dict[str, Any] = {}
        if default is False:
            switch = {"nargs": "?", "const": "true"}
        group.add_argument(
            f"--{option}",
            **switch,
            default=argparse.SUPPRESS,
            metavar=f"(default: {default!r})",
            help=meanings.get(option, "").replace("%", "%%"),
        )
    return list(options)


def _parse(
    parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    try:
        return parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        name = error.argument_name
        raise DataError(f"{name} has no value; write {name}=value") from None


def _unknown(words: Sequence[str]) -> dict[str, str]:
    """The first word that is no option of the builder, for `choose` to refuse it."""
    if not words:
        return {}
    name, _, value = words[0].partition("=")
    if not name.startswith("--"):
        raise DataError(
            f"{words[0]!r} is no option; write --name value or --name=value"
        )
    return {name.removeprefix("--"): value}
