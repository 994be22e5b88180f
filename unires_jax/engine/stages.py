"""The stages: which models each needs, what it reads, what it does to a picture.

A stage is a function of one picture, so that a shard's bytes depend on nothing else.
"""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from unires_jax.engine.record import Picture
from unires_jax.engine.roles import Image
from unires_jax.engine.settings import EngineConfig

Advance = Callable[[Picture, Image, "Context"], Picture]


@dataclasses.dataclass(frozen=True)
class Context:
    """What a stage may use."""

    config: EngineConfig
    models: Mapping[str, Any]  # by role; a role whose setting is "" is not in it


@dataclasses.dataclass(frozen=True)
class Stage:
    """A row of STAGES."""

    name: str  # of its folder and of its module, which has `advance`
    reads: str  # the stage before it
    roles: tuple[str, ...] = ()
    # Settings, or groups of them, that its result depends on: with others it is stale.
    # Of its models, which always count, neither the device nor the batch.
    settings: tuple[str, ...] = ()
    # Raised with whatever changes what it writes: shards of another edition are stale.
    edition: int = 1

    def advance(self) -> Advance:
        """The function that does it. Raises nothing of its own.

        It may raise DataError (the picture is at fault) and OutOfMemory (a model had
        no room even for one region): both become an error of the picture.
        """
        return importlib.import_module(f"unires_jax.engine.{self.name}").advance


PLAN = "plan"
STAGES = (
    Stage("objects", PLAN, ("segmenter",)),
    Stage(
        "parts",
        "objects",
        ("part_finder", "segmenter", "vocabulary"),
        ("expressions.object_side", "expressions.crop"),
    ),
    Stage("captions", "parts", ("captioner",)),
    Stage(
        "expressions",
        "captions",
        ("vocabulary",),
        ("expressions", "seed", "thresholds.twin"),
        edition=13,
    ),
    Stage("scores", "expressions", ("scorer", "grounder", "part_finder"), edition=2),
)
# Of whole shards, in seconds, with no model: `filters`, then `pack`.
FILTER, PACK = "filter", "pack"
