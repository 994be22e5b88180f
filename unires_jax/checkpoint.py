"""Checkpoints: save and resume a run, read its weights elsewhere. Only user of orbax.

A step is the folder `<workdir>/checkpoints/<step>` with three items: `state` (the train
state), `meta` (what is needed to understand it, JSON) and `metrics` (its pooled mIoU).
It gets that name when it is complete, so a killed save leaves the step before it as
last. In a bucket, where nothing can be renamed, it holds the file COMMIT when it is.
"""

import contextlib
import functools
import glob
import importlib.metadata
import logging
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from unires_jax import documents, files, hosts, limits, orbax_s3
from unires_jax.config import Config, TrainConfig, fits, from_dict, to_dict, validate
from unires_jax.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    UserError,
    shorten,
)
from unires_jax.files import Location, absolute
from unires_jax.parameters import check_shapes

FOLDER = "checkpoints"
META = "meta/metadata"  # orbax's name of what JsonSave wrote
COMMIT = "commit_success.txt"  # orbax's, of a step in a bucket
FORMAT = "unires_jax/1"  # changes when old checkpoints can no longer be read
MIOU = "score"  # what a step's pooled mIoU is called in its file `metrics`
_META_BYTES = 2 * limits.TOKENIZER_BYTES  # it holds one, escaped
LIBRARIES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")

# orbax logs an error of its threads with the traceback, and raises it too.
logging.getLogger("absl").addFilter(
    lambda record: not (record.exc_info and "orbax" in record.pathname)
)

Tree = dict[Any, Any]
Meta = dict[str, Any]


class Checkpoints(contextlib.AbstractContextManager["Checkpoints"]):
    """The checkpoints of one workdir. Every process of the run holds one.

    Kept are the `train.keep` latest, the one with the best pooled mIoU, and those of
    multiples of `train.keep_every` steps.
    """

    def __init__(self, workdir: str | os.PathLike[str], train: TrainConfig) -> None:
        self._folder = _absolute(workdir) / FOLDER
        every = train.keep_every
        options = policies.CheckpointManagerOptions(
            best_fn=_miou,
            cleanup_tmp_directories=True,  # what a killed save left behind
            save_decision_policy=policies.AnySavePolicy(
                [
                    policies.FixedIntervalPolicy(train.checkpoint_every),
                    policies.PreemptionCheckpointingPolicy(),
                ]
            ),
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(train.keep),
                    *([policies.EveryNSteps(every)] if every else []),
                    policies.BestN(
                        get_metric_fn=_miou, n=1, keep_checkpoints_without_metrics=False
                    ),
                ]
            ),
        )
        if isinstance(self._folder, Path):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(_plain(self._folder), options=options)

    def __exit__(self, kind: object, *_: object) -> None:
        # Waits for a save under way; in a cluster for all, and one that fails is first
        # to tell the others.
        if kind is None or hosts.is_alone():
            self._manager.close()

    @property
    def latest(self) -> Location | None:
        """The folder of the last complete step."""
        step = self._manager.latest_step()
        return None if step is None else self._folder / str(step)

    def preempted(self, step: int) -> bool:
        """Whether the cluster asks all processes to stop after this step."""
        return bool(self._manager.reached_preemption(step))

    def due(self, step: int) -> bool:
        """Whether this step is to be saved."""
        return bool(self._manager.should_save(step))

    def save(self, step: int, state: Any, meta: Meta, miou: float | None) -> None:
        """Save a step. Returns when the state is copied; writing goes on behind."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
            ),
            metrics={} if miou is None else {MIOU: miou},
            force=True,
        )

    def restore(self, like: Any) -> Any:
        """The last step's state in the shapes, types and shardings of `like`.

        Raises CheckpointError listing every array that differs.
        """
        folder = self.latest
        if folder is None:
            raise CheckpointError(f"{self._folder} holds no checkpoint")
        check_shapes(_saved_arrays(folder), like, folder)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(like))
        return self._manager.restore(int(folder.name), args=args)["state"]


def _miou(metrics: Mapping[str, float]) -> float:
    miou = metrics.get(MIOU, math.nan)
    return -math.inf if math.isnan(miou) else miou


def describe(config: Config, tokenizer: str, data: Mapping[str, str]) -> Meta:
    """What a checkpoint carries beside the state, but for the run's progress.

    `tokenizer` is the text of its tokenizer.json, `data` a fingerprint per split.
    """
    return {
        "format": FORMAT,
        "config": to_dict(config),
        "revision": _revision(),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in LIBRARIES},
        "data": dict(data),
        "tokenizer": tokenizer,
    }


def _revision() -> str:
    """The git revision of this code, with "-dirty" if it was changed; "" if unknown."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True
        )
    except OSError:  # no git
        return ""
    return done.stdout.strip()


def find_checkpoint(
    path: str | os.PathLike[str], pick: Literal["best", "last"] = "best"
) -> Location:
    """The folder of a step, from it, from a checkpoints folder or from a workdir.

    Without any evaluation the best is the last. Raises CheckpointError for none at all.
    """
    expected = "expected a workdir, its checkpoints folder or the folder of one step"
    path = _absolute(path)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such folder; {expected}")
    if (path / "state").is_dir():
        return path
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    steps = sorted(int(p.name) for p in folder.iterdir() if _is_complete(p))
    if not steps:
        raise CheckpointError(f"{path}: holds no checkpoint; {expected}")
    if pick == "last":
        return folder / str(steps[-1])
    return folder / str(max(steps, key=lambda s: (_saved_miou(folder / str(s)), s)))


def _absolute(place: str | os.PathLike[str]) -> Location:
    """The location, where orbax can read and write."""
    path = absolute(place)
    if str(path).startswith(orbax_s3.AMAZON):
        orbax_s3.enable()
    return path


def _plain(path: Location) -> Location:
    """The same place, by a name that is text and no pattern.

    orbax looks for the files that it has just written with `glob`, which takes
    `lr[1e-4]` for a pattern: a run would be saved and could not be read. tensorstore
    takes no name whose bytes are no UTF-8. The kernel has another name for a folder
    that is open. Raises CheckpointError where it has not.
    """
    if not isinstance(path, Path) or _is_plain(str(path)):
        return path
    if not Path("/proc/self/fd").is_dir():
        raise CheckpointError(
            "checkpoints cannot be read from a folder with [, * or ?, or with what is "
            "no UTF-8, in its path; name another",
            place=str(path),
        )
    path = path.absolute()
    folder = next(p for p in (path, *path.parents) if not _is_plain(p.name))
    state = folder.stat()
    number = _opened(str(folder), state.st_dev, state.st_ino)
    return Path(f"/proc/self/fd/{number}") / path.relative_to(folder)


def _is_plain(name: str) -> bool:
    return glob.escape(name) == name and files.is_text(name)


@functools.cache
def _opened(folder: str, device: int, inode: int) -> int:
    """A descriptor of the folder that lasts as long as the process."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _is_complete(folder: Location) -> bool:
    """Whether this is the folder of a step, and all of it is written."""
    if not re.fullmatch(r"[0-9]{1,18}", folder.name):
        return False
    return isinstance(folder, Path) or (folder / COMMIT).exists()


def _saved_miou(folder: Location) -> float:
    file = folder / "metrics" / "metrics"
    if not file.exists():
        return -math.inf
    try:
        miou = documents.read_object(file).get(MIOU, math.nan)
    except DataError as error:
        raise CheckpointError(f"{error}; take another step") from None
    return _miou({MIOU: miou if fits(miou, float) else math.nan})


def read_meta(folder: str | os.PathLike[str]) -> Meta:
    """What the checkpoint of a step says of itself.

    Keys: those of `describe`, and the fields of `start.Progress`.
    Raises CheckpointError if it is not a checkpoint of ours.
    """
    try:
        meta = documents.read_object(_absolute(folder) / META, _META_BYTES)
    except DataError as error:
        raise CheckpointError(
            f"{folder}: not a checkpoint of unires_jax ({error}); CLIP weights are "
            "given as --config.clip"
        ) from None
    version = meta.get("format")
    if version != FORMAT:
        raise CheckpointError(
            f"{folder}: format {version!r}, this version reads {FORMAT!r}; it was "
            "written by another program or version"
        )
    for field, kind in (("config", dict), ("tokenizer", str)):
        if not isinstance(meta.get(field), kind):
            raise CheckpointError(f"{folder}: {META} has no {field}; take another step")
    return meta


def saved_config(meta: Meta, folder: str | os.PathLike[str]) -> Config:
    """The config a checkpoint was trained with.

    Raises CheckpointError if another version wrote it, naming the fields.
    """
    try:
        config: Config = from_dict(meta["config"])
        validate(config)
    except ConfigError as error:
        raise CheckpointError(
            f"{folder}: {error} Use the code that wrote it: "
            f"{meta.get('revision', '')!r}, {shorten(str(meta.get('versions')))}"
        ) from None
    return config


def load_params(
    path: str | os.PathLike[str],
    which: Literal["ema", "params"] = "ema",
    pick: Literal["best", "last"] = "best",
    like: Tree | None = None,
) -> tuple[Tree, Meta]:
    """Parameters (numpy) of a checkpoint and its meta, without the optimizer's state.

    `path` as in `find_checkpoint`. A run without averaged weights gives its parameters
    for "ema". With `like` (a tree of anything with shapes) the names and shapes are
    checked. Raises CheckpointError.
    """
    folder = find_checkpoint(path, pick)
    meta = read_meta(folder)
    saved = _saved_arrays(folder)
    which = which if saved.get(which) else "params"
    if like is not None:
        check_shapes(saved[which], like, folder)
    with _readable(folder):
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), saved[which]
        )
        item = {which: shapes}
        restore = ocp.args.PyTreeRestore(
            item,
            restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(np.ndarray), item),
            partial_restore=True,
        )
        state = _plain(folder / "state")
        tree = ocp.PyTreeCheckpointHandler().restore(state, args=restore)
        return _int_keys(tree[which]), meta


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as an orbax folder that must not exist yet."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(_plain(folder.resolve()), dict(arrays))


def read_arrays(folder: Path, like: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What `save_arrays` wrote, of the names and shapes of `like`.

    Raises CheckpointError if it cannot be read; before reading if it does not fit.
    """
    folder = folder.resolve()
    with _readable(folder), ocp.PyTreeCheckpointer() as checkpointer:
        source = _plain(folder)
        tree = dict(checkpointer.metadata(source).item_metadata.tree)
        check_shapes(tree, dict(like), folder)
        arguments = jax.tree.map(lambda _: ocp.RestoreArgs(np.ndarray), tree)
        restored = checkpointer.restore(source, restore_args=arguments)
    return {str(name): np.asarray(x) for name, x in restored.items()}


def _int_keys(tree: Any) -> Any:
    """Orbax writes the key 0 of a list of layers as "0"."""
    if not isinstance(tree, dict):
        return tree
    return {int(k) if k.isdigit() else k: _int_keys(v) for k, v in tree.items()}


def _saved_arrays(folder: Location) -> Tree:
    """Names, shapes and types of the saved state, without reading it."""
    with _readable(folder):
        state = _plain(folder / "state")
        return dict(ocp.PyTreeCheckpointHandler().metadata(state).tree)


@contextlib.contextmanager
def _readable(folder: Location) -> Iterator[None]:
    """Whatever a damaged folder raises becomes a CheckpointError naming it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of orbax, tensorstore, or a decoder beneath them
        raise CheckpointError(
            f"{folder}: its arrays cannot be read ({type(error).__name__}: "
            f"{shorten(str(error), 1000)}); take another step"
        ) from None
