"""What a shard was made of, and whether that is what it would be made of now.

A marker `shard-00003-of-00016.done` beside a shard holds SHA-256 of its input and of
itself, the stage's edition, a hash of the settings that it depends on, its models with
their fingerprints, counts and seconds. Source: ours.
"""

import enum
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from unires_jax.config import to_dict
from unires_jax.engine.settings import EngineConfig
from unires_jax.errors import UserError
from unires_jax.files import naming
from unires_jax.prepare.shards import Shard

_PIECE = 1 << 20
# Fields of a marker.
INPUT, OUTPUT, FORMERLY, ERRORS = "input", "output", "formerly", "errors"
FINGERPRINTS, EDITION = "fingerprints", "edition"
# What a marker's fields say of a shard that was made of something else.
_WORDS = {
    INPUT: "of another input",
    "settings": "with other settings",
    "models": "with other models",
    FINGERPRINTS: "with other files of its models",
    EDITION: "by another edition of the stage",
}


class StaleError(UserError):
    """Shards were made of something else than now; the message says the way out."""


class State(enum.StrEnum):
    """How far a shard is."""

    MISSING = "missing"
    DONE = "done"
    BEHIND = "behind"  # of its input, only pictures with errors were redone since
    STALE = "stale"  # made of another input, with other settings, models or code


def state(shard: Shard) -> State:
    """How far a shard of a stage is, by its marker and that of its input.

    One whose file is lost is missing.
    """
    marker = shard.stored()
    if marker is None or not all(shard.path(x).exists() for x in shard.work.suffixes):
        return State.MISSING
    if shard.marker() is not None:
        return State.DONE
    wanted = shard.work.identity
    differ = {name for name, value in wanted.items() if marker.get(name) != value}
    formerly = getattr(shard.work, FORMERLY, ())  # a plan has no input that changes
    if differ == {INPUT} and marker.get(INPUT) in formerly:
        return State.BEHIND
    return State.STALE


def differences(shard: Shard) -> str:
    """What a stale shard was made of, in words: "with other models"."""
    marker = shard.stored() or {}
    differ = [n for n, v in shard.work.identity.items() if marker.get(n) != v]
    if "models" in differ:  # which have other files, of course
        differ = [name for name in differ if name != FINGERPRINTS]
    return " and ".join(dict.fromkeys(_WORDS.get(n, f"of another {n}") for n in differ))


def file_hash(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    digest = hashlib.sha256()
    with naming(path), path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def settings_hash(config: EngineConfig, names: Sequence[str]) -> str:
    """A hash of settings or groups of them, by their dotted names: 12 hex digits."""
    values = {}
    for name in names:
        value = to_dict(config)
        for word in name.split("."):
            value = value[word]
        values[name] = value
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
