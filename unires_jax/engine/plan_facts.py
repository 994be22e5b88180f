"""What a plan says of itself (plan.json): the folder of its pictures, its sources."""

from pathlib import Path
from typing import Any

from unires_jax import documents
from unires_jax.engine.plan_file import FILE
from unires_jax.engine.stages import PLAN
from unires_jax.errors import DataError, UsageError
from unires_jax.files import local

PICTURES = "pictures"  # the field that names their folder


def read_facts(out: str | Path) -> dict[str, Any]:
    """The plan.json of an engine's folder; {} where there is none."""
    path = local(out) / PLAN / FILE
    return documents.read_object(path) if path.exists() else {}


def picture_folder(out: str | Path, pictures: str | Path = "") -> Path:
    """The folder of the pictures: as given, else the plan's.

    Raises UsageError where neither says it, DataError where it is no folder.
    """
    named = pictures or read_facts(out).get(PICTURES, "")
    if not named or not isinstance(named, (str, Path)):
        raise UsageError(
            f"{local(out)} does not say where its pictures are; add --pictures"
        )
    folder = local(named)
    if not folder.is_dir():
        raise DataError(
            "no such folder; --pictures names where the pictures are now",
            place=str(folder),
        )
    return folder
