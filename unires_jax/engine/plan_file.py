"""plan.json: what a plan was made of, how it was cut, where its pictures are."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from unires_jax import __version__, documents
from unires_jax.engine.stages import PLAN
from unires_jax.errors import DataError, Kind, UsageError
from unires_jax.files import local, write_whole

FILE = "plan.json"
SCHEMA = "mres-engine-plan/1"
_KINDS = {"sources": dict, "pictures": str, "shard": int, "count": int}
_REMEDY = "remove it and run `unires engine plan`, which keeps finished shards"


@dataclasses.dataclass(frozen=True)
class Plan:
    """The content of plan.json."""

    form: str  # of the sources: "coco", "boxes" or "mres"
    sources: dict[str, str]  # SHA-256 of each file
    pictures: str  # their folder, from the root
    exhaustive: bool  # whether every instance of a category has a box
    shard: int  # pictures of one
    count: int  # pictures
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: list[Any] = dataclasses.field(default_factory=list)

    @property
    def shards(self) -> int:
        """How many."""
        return -(-self.count // self.shard)

    def entries(self, index: int) -> int:
        """How many pictures a shard has."""
        return min(self.shard, self.count - index * self.shard)

    @property
    def made_of(self) -> dict[str, Any]:
        """What another plan in its place differs in."""
        values = dataclasses.asdict(self)
        del values["counts"], values["notes"]
        return values

    @classmethod
    def read(cls, out: Path) -> "Plan":
        """The plan of an engine's folder. Raises DataError where there is none."""
        path = out / PLAN / FILE
        if not path.exists():
            raise DataError(
                "there is no plan; `unires engine plan` makes one, and goes on with "
                "one that was broken off",
                place=str(path),
                kind=Kind.FILE_MISSING,
            )
        values = documents.read_object(path)
        if values.pop("schema", None) != SCHEMA:
            raise DataError(f"is no plan of {SCHEMA}; {_REMEDY}", place=str(path))
        values.pop("version", None)
        try:
            plan = cls(**values)
            for name, kind in _KINDS.items():
                if type(getattr(plan, name)) is not kind:
                    raise TypeError(f"{name} is no {kind.__name__}")
            return plan
        except TypeError as error:
            raise DataError(
                f"is no plan of {SCHEMA}: {error}; {_REMEDY}", place=str(path)
            ) from None

    @classmethod
    def find(cls, out: Path) -> "Plan | None":
        """The plan of an engine's folder, None without one. Raises as `read` else."""
        return cls.read(out) if (out / PLAN / FILE).exists() else None

    def write(self, out: Path) -> None:
        """Write plan.json. Raises OSError."""
        head = {"schema": SCHEMA, "version": __version__}
        text = json.dumps(head | dataclasses.asdict(self), indent=1, ensure_ascii=False)
        write_whole(out / PLAN / FILE, text + "\n")


def picture_folder(out: Path, pictures: str | Path = "") -> Path:
    """The folder of the pictures: as given, else the plan's.

    Raises UsageError where neither says it, DataError where it is no folder.
    """
    plan = None if pictures else Plan.find(out)
    named = pictures or (plan.pictures if plan else "")
    if not named:
        raise UsageError(f"{out} does not say where its pictures are; add --pictures")
    folder = local(named)
    if not folder.is_dir():
        raise DataError(
            "no such folder; --pictures names where the pictures are now",
            place=str(folder),
        )
    return folder
