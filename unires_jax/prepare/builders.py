"""TFDS builders by the names of their data sets, and the options they take.

A builder is the class `Builder` (tfds.core.GeneratorBasedBuilder) of the file
`NAME/NAME_dataset_builder.py` in the package's folder `datasets`, loaded by path so
that nothing imports one. Its keyword-only arguments with defaults are its options, and
the comment beside each is its help; `how` names those that change the work, not its
result.
"""

import difflib
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unires_jax.errors import DataError
from unires_jax.limits import INTEGER
from unires_jax.settings_help import comments

_SUFFIX = "_dataset_builder.py"
DATASETS = Path(__file__).parents[1] / "datasets"


def load_builder(name: str, datasets_dir: str | Path | None = None) -> type:
    """The `Builder` class of a data set. Raises DataError naming the nearest one."""
    root = _root(datasets_dir)
    path = root / name / f"{name}{_SUFFIX}"
    if not path.is_file():
        names = builder_names(datasets_dir)
        raise DataError(
            f"no data set {name!r} in {root}{_nearest(name, names)}; "
            f"there are: {', '.join(names) or 'none'}"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "Builder"):
        raise DataError(f"{path} defines no class Builder")
    return module.Builder


def builder_names(datasets_dir: str | Path | None = None) -> list[str]:
    """The data sets that have a builder. Raises DataError if there is no folder."""
    return sorted(p.parent.name for p in _root(datasets_dir).glob(f"*/*{_SUFFIX}"))


def _root(datasets_dir: str | Path | None) -> Path:
    """The folder of builders; never a `datasets` that happens to be here."""
    folder = Path(datasets_dir) if datasets_dir else DATASETS
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; --datasets_dir names one of builders")
    return folder


def builder_options(cls: type) -> dict[str, Any]:
    """A builder's options and their defaults: its own keyword-only arguments.

    Those of a base class come first; `config` is one where the builder has configs.
    """
    configs = _configs(cls)
    options: dict[str, Any] = {"config": configs[0]} if configs else {}
    for base in _bases(cls):
        options |= {
            p.name: p.default
            for p in inspect.signature(base).parameters.values()
            if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
        }
    return options


def option_meanings(cls: type) -> dict[str, str]:
    """What each option is: the comment beside it, "" where there is none."""
    meanings = {"config": ", ".join(_configs(cls))}
    for base in _bases(cls):
        init = vars(base).get("__init__")
        if inspect.isfunction(init):
            meanings |= comments(init)
    return meanings


def _configs(cls: type) -> list[str]:
    return [c.name for c in getattr(cls, "BUILDER_CONFIGS", ())]


def _bases(cls: type) -> list[type]:
    """A builder's classes that are not TFDS's, bases first."""
    ours = [c for c in cls.__mro__ if not c.__module__.startswith("tensorflow_dataset")]
    return ours[::-1]


def choose(name: str, cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a builder, each of its default's type.

    A whole number counts something, any other is a share. Raises DataError for an
    unknown option or config (naming the nearest), and for a value of another type or
    range.
    """
    defaults = builder_options(cls)
    chosen = dict(defaults)
    for key, value in options.items():
        if key not in defaults:
            raise DataError(
                f"{name} has no option {key!r}{_nearest(key, list(defaults))}; "
                f"it has: {', '.join(defaults) or 'none'}"
            )
        chosen[key] = _typed(f"{name}: --{key}", value, type(defaults[key]))
    configs = _configs(cls)
    if configs and chosen["config"] not in configs:
        config = chosen["config"]
        raise DataError(
            f"{name} has no config {config!r}{_nearest(config, configs)}; there are: "
            f"{', '.join(configs)}"
        )
    return chosen


def lasting(cls: type, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide what is built; the builder's `how` names the others."""
    return {k: v for k, v in chosen.items() if k not in getattr(cls, "how", ())}


def _typed(field: str, value: Any, kind: type) -> Any:
    words = {"true": True, "false": False}
    try:
        typed = words[str(value).lower()] if kind is bool else kind(value)
    except (KeyError, OverflowError, ValueError):
        raise DataError(f"{field} {value!r} is no {kind.__name__}") from None
    if kind is int and not 0 <= typed < INTEGER:
        raise DataError(f"{field} {value!r}: expected a whole number from 0")
    if kind is float and not 0 <= typed <= 1:  # nan too
        raise DataError(f"{field} {value!r}: expected a share, from 0 to 1")
    return typed


def _nearest(word: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.4)
    return f", did you mean {close[0]!r}" if close else ""
