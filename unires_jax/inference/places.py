"""Where a trained model lies: with the package, in a folder, or on the hub."""

import os
import re
from pathlib import Path

import unires_jax
from unires_jax.errors import CheckpointError
from unires_jax.files import locate

# An export of configs/partworld_full.py's run, remade by `make bundle`.
BUNDLED = Path(unires_jax.__file__).parent / "serving" / "bundled"
BUNDLED_NAME = "bundled"
# <owner>/<name>, and a branch, tag or commit: what the hub takes.
HUB_ID = re.compile(r"([\w.-]{1,96}/[\w.-]{1,96})(?:@([\w./-]{1,96}))?", re.ASCII)


def find(place: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """A place as a folder: itself, the package's for "bundled", or a copy of the hub's.

    What exists is never looked for on the hub. Raises CheckpointError for a hub id of
    which neither the hub nor its cache here gives a model.
    """
    name = os.fspath(place)
    if name == BUNDLED_NAME and not Path(name).exists():
        return BUNDLED
    match = HUB_ID.fullmatch(name) if isinstance(name, str) else None
    if match is None or ".." in name or locate(place).exists():
        return place
    return _download(*match.groups())


def _download(repository: str, revision: str | None) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision))
    except Exception as error:  # any of the hub's or the connection's
        cause = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{repository}: no such folder here, and the hub did not give a model of "
            f"that id ({type(error).__name__}: {cause})"
        ) from None
