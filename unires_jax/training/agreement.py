"""What the processes of a run must have in common, said before anything expensive.

One that differs would train something else, or wait for ever for the others: its
config, code, libraries and data are those of process 0, the workdir is one for all.
Said over the board of `hosts`, where nobody waits for a process that is gone.
"""

import hashlib
import json
import secrets
import time

from unires_jax import hosts
from unires_jax.checkpoint import Meta, describe
from unires_jax.config import Config, settings
from unires_jax.data.pipeline import open_splits
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import ClusterError
from unires_jax.files import Location, absolute, locate, write_whole

TOKEN = "token"  # file of the workdir, written by one process and read by all
TOKEN_SECONDS = 20  # within which a network's file system shows it to other hosts; ours

# What hosts may have each their own way.
MAY_DIFFER = ("data.cache", "data.dir", "data.workers")


def describe_run(config: Config, tokenizer: Tokenizer) -> Meta:
    """What a run's checkpoints say of it; its training data by their fingerprints."""
    prints = [split.fingerprint() for split in open_splits(config)]
    data = dict(zip(config.data.train, prints, strict=True))
    return describe(config, tokenizer.to_json(), data)


def agree(config: Config, tokenizer: Tokenizer, workdir: str) -> None:
    """Return when all processes are about to train the same run. All call it alike.

    The main process holds the workdir by now. Raises ClusterError in all of them,
    naming the processes that differ and in what.
    """
    if hosts.member_count() == 1:
        return
    values = _values(config, describe_run(config, tokenizer))
    values["workdir"] = _shared_token(workdir)
    fault = hosts.consult("agreement", json.dumps(values), differences)
    if fault:
        raise ClusterError(fault)


def _values(config: Config, about: Meta) -> dict[str, str]:
    """All that must be equal, by name."""
    values = {
        f"config.{name}": repr(value)
        for name, value in settings(config).items()
        if name not in MAY_DIFFER
    }
    values["code revision"] = about["revision"]
    values |= {f"version of {k}": v for k, v in about["versions"].items()}
    values |= {f"data {name}": x for name, x in about["data"].items()}
    tokenizer = hashlib.sha256(about["tokenizer"].encode()).hexdigest()[:16]
    return values | {"tokenizer": tokenizer}


def _shared_token(workdir: str) -> str:
    """What this process finds in the workdir where the main one has put a token."""
    token = secrets.token_hex(8)
    file = locate(workdir) / TOKEN
    if hosts.member() == 0:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, token)
    expected = hosts.from_main("token", token)
    deadline = time.monotonic() + TOKEN_SECONDS
    while (text := _read(file)) != expected and time.monotonic() < deadline:
        time.sleep(0.5)
    return text if text == expected else f"{absolute(file.parent)}: {text}"


def _read(file: Location) -> str:
    try:
        return str(file.read_text())
    except OSError:
        return "no token there"


def differences(texts: dict[int, str]) -> str:
    """Every value in which a process differs from process 0; empty if none does."""
    values = {number: json.loads(text) for number, text in texts.items()}
    faults = []
    for number, theirs in sorted(values.items()):
        lines = [
            _line(name, theirs.get(name), expected)
            for name, expected in values[0].items()
            if theirs.get(name) != expected
        ]
        if lines:
            faults += [f"{hosts.member_name(number)} differs from process 0:", *lines]
    return "\n  ".join(faults)


def _line(name: str, found: str | None, expected: str) -> str:
    if name == "workdir":
        return (
            f"workdir: what process 0 wrote there is not to be read ({found}); all "
            "hosts need one shared folder, or a bucket, as --workdir"
        )
    return f"{name}: {found}, process 0 has {expected}"
