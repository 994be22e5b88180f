"""`unires build NAME`: prepare a data set with its TFDS builder, without TensorFlow.

A builder is the class `Builder` (tfds.core.GeneratorBasedBuilder) of the file
`datasets/NAME/NAME_dataset_builder.py`, loaded by path so that nothing imports one. Its
keyword-only arguments with defaults are the command's options, and the comment beside
each is its help. Where it carries
`tokenizer_vocab`, a tokenizer of that size is trained on its train split and stored
beside the data.
"""

import argparse
import difflib
import importlib.util
import inspect
import json
import os
import re
import tempfile
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from unires_jax.data.prepared import TOKENIZER_FILE, PreparedSplit
from unires_jax.errors import DataError

OPTIONS_FILE = "build_options.json"
_SUFFIX = "_dataset_builder.py"


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
    unknown name or option (naming the nearest), and for a folder built with other
    options unless `overwrite` is given.
    """
    import tensorflow_datasets as tfds

    cls = load_builder(name, datasets_dir)
    chosen = _choose(name, cls, options)
    builder = cls(data_dir=str(data_dir), file_format="array_record", **chosen)
    folder = Path(builder.data_path)
    # Written beside first: a build that is killed has its options or no name.
    pending = folder.with_name(f".{folder.name}.{OPTIONS_FILE}")
    if folder.exists() and not overwrite:
        if pending.exists() and not (folder / OPTIONS_FILE).exists():
            os.replace(pending, folder / OPTIONS_FILE)
        _require_same(folder, _lasting(cls, chosen))
        print(f"{folder} is already built")
    else:
        mode = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS
        config = tfds.download.DownloadConfig(download_mode=mode)
        tfds.disable_progress_bar()  # builders count their own scenes or images
        builder._log_download_bytes = builder._log_download_done = _say_nothing
        pending.parent.mkdir(parents=True, exist_ok=True)
        pending.write_text(json.dumps(_lasting(cls, chosen), indent=1))
        try:
            with tempfile.TemporaryDirectory() as unused:  # nothing is downloaded
                builder.download_and_prepare(
                    download_dir=unused, download_config=config
                )
            os.replace(pending, folder / OPTIONS_FILE)
        finally:
            pending.unlink(missing_ok=True)  # also of a build that stopped
        print(f"{folder} is built")
    _train_tokenizer(folder, getattr(cls, "tokenizer_vocab", 0))
    return folder


def _say_nothing() -> None:
    """In place of TFDS's talk of downloads."""


def load_builder(name: str, datasets_dir: str | Path | None = None) -> type:
    """The `Builder` class of a data set. Raises DataError naming the nearest one."""
    root = _root(datasets_dir)
    path = root / name / f"{name}{_SUFFIX}"
    if not path.is_file():
        known = _known(root)
        raise DataError(
            f"no data set {name!r} in {root}{_nearest(name, known)}; "
            f"there are: {', '.join(known) or 'none'}"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "Builder"):
        raise DataError(f"{path} defines no class Builder")
    return module.Builder


def builder_options(cls: type) -> dict[str, Any]:
    """A builder's options and their defaults: its own keyword-only arguments.

    Those of a base class come first; `config` is one where the builder has configs.
    """
    configs = _configs(cls)
    found: dict[str, Any] = {"config": configs[0]} if configs else {}
    for level in _own(cls):
        parameters = inspect.signature(level).parameters.values()
        found |= {
            p.name: p.default
            for p in parameters
            if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
        }
    return found


def _configs(cls: type) -> list[str]:
    return [c.name for c in getattr(cls, "BUILDER_CONFIGS", ())]


def _own(cls: type) -> list[type]:
    """A builder's classes that are not TFDS's, bases first."""
    own = [c for c in cls.__mro__ if not c.__module__.startswith("tensorflow_datasets")]
    return own[::-1]


def main(argv: Sequence[str]) -> int:
    """`unires build NAME [--data_dir data] [--overwrite] [--<option> value ...]`."""
    parser = argparse.ArgumentParser(
        prog="unires build", add_help=False, allow_abbrev=False
    )
    parser.add_argument("name", nargs="?", help="a folder of datasets/")
    parser.add_argument("--data_dir", default="data", help="default: data")
    parser.add_argument("--datasets_dir", help="folder of the builders")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is there"
    )
    parser.add_argument("-h", "--help", action="store_true")
    known, rest = parser.parse_known_args(argv)
    if known.help or not known.name:
        parser.print_help()
        print(_describe(known.name, known.datasets_dir))
        return 0 if known.help else 2
    options = builder_options(load_builder(known.name, known.datasets_dir))
    build(
        known.name,
        known.data_dir,
        datasets_dir=known.datasets_dir,
        overwrite=known.overwrite,
        **_parse_options(rest, options),
    )
    return 0


def _describe(name: str | None, datasets_dir: str | None) -> str:
    if not name:
        return f"\ndata sets: {', '.join(_known(_root(datasets_dir))) or 'none'}"
    cls = load_builder(name, datasets_dir)
    about, meanings = inspect.getdoc(cls), _meanings(cls)
    lines = [
        f"  --{key} (default: {value!r})\n    {meanings.get(key, '')}".rstrip()
        for key, value in builder_options(cls).items()
    ]
    return "\n".join([f"\noptions of {name}:\n{about}\n", *lines])


def _meanings(cls: type) -> dict[str, str]:
    """The comment beside each option, from the builder's source."""
    found = {"config": ", ".join(_configs(cls))}
    for level in _own(cls):
        init = vars(level).get("__init__")
        if inspect.isfunction(init):
            source = inspect.getsource(init)
            found |= dict(re.findall(r"^ +(\w+): [^#\n]*,  # (.*)$", source, re.M))
    return found


def _root(datasets_dir: str | Path | None) -> Path:
    beside_package = Path(__file__).parents[2] / "datasets"
    places = (
        [Path(datasets_dir)] if datasets_dir else [Path("datasets"), beside_package]
    )
    found = [p for p in places if p.is_dir()]
    if not found:
        raise DataError(
            f"no folder {' or '.join(map(str, places))}; run from a clone of the "
            "repository or pass --datasets_dir"
        )
    return found[0]


def _known(root: Path) -> list[str]:
    return sorted(p.parent.name for p in root.glob(f"*/*{_SUFFIX}"))


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f", did you mean {close[0]!r}" if close else ""


def _choose(name: str, cls: type, options: dict[str, Any]) -> dict[str, Any]:
    """All options of a builder, each of its default's type."""
    defaults = builder_options(cls)
    chosen = dict(defaults)
    for key, value in options.items():
        if key not in defaults:
            raise DataError(
                f"{name} has no option {key!r}{_nearest(key, list(defaults))}; "
                f"it has: {', '.join(defaults) or 'none'}"
            )
        chosen[key] = _typed(f"{name}: --{key}", value, type(defaults[key]))
    known = _configs(cls)
    if known and chosen["config"] not in known:
        wanted = chosen["config"]
        raise DataError(
            f"{name} has no config {wanted!r}{_nearest(wanted, known)}; there are: "
            f"{', '.join(known)}"
        )
    return chosen


def _lasting(cls: type, chosen: dict[str, Any]) -> dict[str, Any]:
    """The options that decide what is built; the builder's `how` names the others."""
    return {k: v for k, v in chosen.items() if k not in getattr(cls, "how", ())}


def _typed(field: str, value: Any, kind: type) -> Any:
    words = {"true": True, "false": False}
    try:
        return words[str(value).lower()] if kind is bool else kind(value)
    except (KeyError, ValueError):
        raise DataError(f"{field} {value!r} is no {kind.__name__}") from None


def _parse_options(rest: Sequence[str], known: Container[str]) -> dict[str, str]:
    """`--name value` and `--name=value`; a value may begin with dashes (Beam's)."""
    found, words = {}, iter(rest)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            raise DataError(
                f"{word!r} is no option; write --name value or --name=value"
            )
        if not equals:
            value = next(words, "--")
            if value == "--" or _names_option(value, known):
                raise DataError(f"{name} has no value; write {name} value")
        found[name.removeprefix("--")] = value
    return found


def _names_option(word: str, known: Container[str]) -> bool:
    return word.startswith("--") and word[2:].partition("=")[0] in known


def _require_same(folder: Path, chosen: dict[str, Any]) -> None:
    path = folder / OPTIONS_FILE
    built = json.loads(path.read_text()) if path.exists() else None
    if built != chosen:
        had = built or {}
        differ = [k for k in {**had, **chosen} if had.get(k) != chosen.get(k)]
        old, new = ({k: x.get(k) for k in differ} for x in (had, chosen))
        raise DataError(
            f"{folder} was built with {old}, now asked for {new}; "
            "pass --overwrite to replace it, or another --data_dir"
        )


def _train_tokenizer(folder: Path, vocab: int) -> None:
    if not vocab or (folder / TOKENIZER_FILE).exists():
        return
    from unires_jax.data.tokenizer import train_bpe

    train_bpe(_captions(folder), folder / TOKENIZER_FILE, vocab)


def _captions(folder: Path) -> Iterator[str]:
    split = PreparedSplit(str(folder), "train")
    for index in range(len(split)):
        for expression in split[index].expressions:
            yield expression.sent
