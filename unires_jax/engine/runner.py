"""Stages over shards: what is not done yet, by this process, by several, or by Beam.

A shard is done by the same function wherever that is, so its bytes are the same. Work
that dies goes on with what has no marker. What a picture cannot be done for becomes
an error in its record, and the work goes on; `retry` does those pictures again.
"""

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from unires_jax import __version__
from unires_jax.engine import models, picture_files, shard_files
from unires_jax.engine.markers import (
    EDITION,
    ERRORS,
    FINGERPRINTS,
    FORMERLY,
    INPUT,
    OUTPUT,
    StaleError,
    State,
    differences,
    file_hash,
    settings_hash,
    state,
)
from unires_jax.engine.plan_file import Plan
from unires_jax.engine.record import Picture, to_line
from unires_jax.engine.settings import EngineConfig
from unires_jax.engine.stages import STAGES, Advance, Context, Stage
from unires_jax.errors import DataError, UserError, shorten
from unires_jax.prepare import beam, workers
from unires_jax.prepare.shards import (
    DONE,
    Ledger,
    Marker,
    Refusal,
    Shard,
    hold,
    read_marker,
)

SUFFIX = ".jsonl.gz"
NOUN = "run"  # what messages call the holder of an engine's folder


def stem(index: int, count: int) -> str:
    """A shard's file name up to its first dot."""
    return shard_files.name(index, count).removesuffix(SUFFIX)


@dataclasses.dataclass(frozen=True)
class StageWork:
    """The work that makes a shard of a stage of the shard of the stage before."""

    out: str
    pictures: str  # their folder
    stage: Stage
    index: int
    count: int  # of shards
    entries: int  # pictures
    config: EngineConfig = dataclasses.field(hash=False)
    made_of: str  # `made_of`, as JSON
    # Keep what the shard says so far of pictures that have no error.
    mends: bool = False
    noun: ClassVar[str] = "pictures"
    suffixes: ClassVar[tuple[str, ...]] = (SUFFIX,)

    @property
    def name(self) -> str:
        """The stage."""
        return self.stage.name

    @property
    def identity(self) -> Marker:
        """What its marker must say; of its input, what that one's marker says now."""
        return {**json.loads(self.made_of), INPUT: self._before().get(OUTPUT, "")}

    @property
    def formerly(self) -> list[str]:
        """Hashes of its input before pictures with errors were done again."""
        return list(self._before().get(FORMERLY, []))

    @property
    def has_input(self) -> bool:
        """Whether the stage before has done this shard."""
        return bool(self._before())

    def _before(self) -> Marker:
        """The marker of its input; {} where that is not done."""
        return read_marker(self._path(self.stage.reads, DONE)) or {}

    def _path(self, stage: str, suffix: str) -> Path:
        return Path(self.out) / stage / f"{stem(self.index, self.count)}{suffix}"

    def write(
        self, paths: Mapping[str, Path], figures: Marker
    ) -> Generator[Refusal | None, None, None]:
        """Write the pictures as the stage leaves them; None for each as it goes.

        Raises DataError where the input is not what its marker says, the models are
        others than those that were asked for, and without the folder of pictures: then
        it is the machine that is at fault, and no picture.
        """
        if not Path(self.pictures).is_dir():
            raise DataError(
                "no such folder of pictures on this machine; mount it, or name it with "
                "--pictures",
                place=self.pictures,
            )
        began, source = time.perf_counter(), self._path(self.stage.reads, SUFFIX)
        if file_hash(source) != figures[INPUT]:
            raise DataError(
                "is not what its marker says; `unires engine verify` names all such "
                "files",
                place=str(source),
            )
        loaded = self._models()
        step = functools.partial(
            self._line,
            earlier=self._earlier(figures),
            advance=self.stage.advance(),
            context=Context(self.config, loaded),
        )
        counts = {"pictures": 0, "regions": 0, "texts": 0, ERRORS: 0}
        stream = picture_files.ahead(Path(self.pictures), shard_files.read(source))
        with shard_files.lines(paths[SUFFIX]) as file:
            for picture, image in stream:
                line, done = step(picture, image)
                print(line, file=file)
                counts["pictures"] += 1
                counts["regions"] += len(done.regions)
                counts["texts"] += sum(len(region.texts) for region in done.regions)
                counts[ERRORS] += len(done.errors) > len(picture.errors)
                yield None
        figures |= counts
        figures[OUTPUT] = file_hash(paths[SUFFIX])
        figures["version"] = __version__
        figures["seconds"] = round(time.perf_counter() - began, 3)

    def _models(self) -> Mapping[str, Any]:
        loaded = models.load(self.stage, self.config.models)
        for role, fingerprint in self.identity.get(FINGERPRINTS, {}).items():
            if loaded[role].fingerprint != fingerprint:
                raise DataError(
                    f"its files changed, or are others on this machine: expected "
                    f"{fingerprint}, found {loaded[role].fingerprint}",
                    place=f"models.{role}",
                )
        return loaded

    def _earlier(self, figures: Marker) -> dict[int, Picture]:
        """What is kept of the shard, by image_id; `figures` are told what it was."""
        path = self._path(self.stage.name, SUFFIX)
        if not self.mends or not path.exists():
            return {}
        marker = read_marker(self._path(self.stage.name, DONE)) or {}
        figures[FORMERLY] = [*marker.get(FORMERLY, []), marker.get(OUTPUT)]
        kept = (p for p in shard_files.read(path) if not p.errors)
        return {picture.image_id: picture for picture in kept}

    def _line(
        self,
        picture: Picture,
        image: Any,
        earlier: Mapping[int, Picture],
        advance: Advance,
        context: Context,
    ) -> tuple[str, Picture]:
        """The picture after the stage, or with an error, as a line too."""
        if not picture_files.is_usable(picture):
            return to_line(picture), picture
        kept = earlier.get(picture.image_id)
        if kept is not None and kept.sha256 == picture.sha256:
            return to_line(kept), kept
        try:
            done = advance(picture, image.result(), context)
            return to_line(done), done
        except UserError as error:
            cause = str(error)
        except Exception as error:  # models raise anything, and the others go on
            cause = f"{type(error).__name__}: {error}"
        told = f"{self.stage.name}: {shorten(cause, 1000)}"
        failed = dataclasses.replace(picture, errors=(*picture.errors, told))
        return to_line(failed), failed


def made_of(
    stage: Stage, config: EngineConfig, fingerprints: Mapping[str, str] | None
) -> Marker:
    """What a stage's shards are made of beside their input.

    `fingerprints` of its models by role; None: not asked for, and not compared.
    """
    settings = (*stage.settings, "models.dtype") if stage.roles else stage.settings
    made: Marker = {
        "stage": stage.name,
        EDITION: stage.edition,
        "settings": settings_hash(config, settings),
        "models": models.specs(stage, config.models),
    }
    return made if fingerprints is None else made | {FINGERPRINTS: dict(fingerprints)}


def ledger(
    out: Path,
    plan: Plan,
    stage: Stage,
    config: EngineConfig,
    *,
    indices: range | None = None,
    pictures: str = "",
    fingerprints: Mapping[str, str] | None = None,
    mended: Collection[int] = (),
) -> Ledger:
    """The shards of a stage."""
    made = json.dumps(made_of(stage, config, fingerprints), sort_keys=True)
    works = [
        StageWork(
            out=str(out),
            pictures=pictures or plan.pictures,
            stage=stage,
            index=index,
            count=plan.shards,
            entries=plan.entries(index),
            config=config,
            made_of=made,
            mends=index in mended,
        )
        for index in range(plan.shards)
    ]
    return Ledger(out, works, 0.0, indices, progress=stage.name, stem=stem)


@dataclasses.dataclass(frozen=True)
class Way:
    """How shards are done: in this process, in several, or under Beam."""

    workers: int = 0  # processes; 0: this one
    beam: tuple[str, ...] = ()  # options of Beam, which name its runner
    indices: range | None = None  # of the job's shards, while others do the rest

    def write(self, shards: Ledger, todo: Sequence[Shard], title: str) -> None:
        """Write them. Raises as `workers.run` and `beam.run`."""
        if self.beam and todo:
            beam.run(shards, self.beam, todo=todo)
        else:
            unit = StageWork.noun
            workers.run(shards, self.workers, unit=unit, title=title, todo=todo)

    @property
    def apart(self) -> bool:
        """Whether another process than this one loads the models."""
        return bool(self.workers or self.beam)


def run(
    out: Path,
    config: EngineConfig,
    stages: Sequence[Stage] = STAGES,
    way: Way = Way(),
    *,
    recompute: bool = False,
    retry: bool = False,
    pictures: str = "",
    begin: Callable[[], None] = lambda: None,
) -> int:
    """Do what is not done of the stages; how many pictures have an error of theirs.

    `retry` does pictures with errors again. `pictures` is their folder where that is
    another than the plan's. `begin` is called before a stage's first shard is made,
    once it is known that its models are there. Raises StaleError for shards of another
    input, other settings, models or edition, unless `recompute`; DataError while
    another run holds the folder or the same shards, and where the stage before has not
    done a shard.
    """
    plan = Plan.read(out)
    with hold(out, NOUN, way.indices):
        return sum(
            _advance(out, plan, stage, config, way, recompute, retry, pictures, begin)
            for stage in stages
        )


def _advance(
    out: Path,
    plan: Plan,
    stage: Stage,
    config: EngineConfig,
    way: Way,
    recompute: bool,
    retry: bool,
    pictures: str,
    begin: Callable[[], None],
) -> int:
    """Do what is not done of a stage; how many pictures have an error of it."""
    names = models.fingerprints(stage, config.models)
    made = functools.partial(
        ledger,
        out,
        plan,
        stage,
        config,
        indices=way.indices,
        pictures=pictures,
        fingerprints=names,
    )
    asked = made()
    for shard in asked.mine:
        if not shard.work.has_input:  # type: ignore[attr-defined]
            raise DataError(
                f"{stage.reads} has not done shard {shard.index}, which {stage.name} "
                "reads; run the stages in their order",
                place=str(out),
            )
    states = {shard.index: state(shard) for shard in asked.mine}
    for shard in asked.mine:
        if states[shard.index] is State.MISSING:  # a marker whose file is lost goes too
            shard.path(DONE).unlink(missing_ok=True)
    stale = [index for index, at in states.items() if at is State.STALE]
    if stale and not recompute:
        first = next(s for s in asked.mine if s.index == stale[0])
        raise StaleError(
            f"{len(stale)} of {len(asked.mine)} shards of {stage.name} were made "
            f"{differences(first)} (number {stale[0]} first). Set those again, name "
            "another --out, or do the shards again: --recompute stale",
            place=str(out),
        )
    mended = {index for index, at in states.items() if at is State.BEHIND}
    if retry:
        markers = {shard.index: shard.stored() or {} for shard in asked.mine}
        done = (index for index, at in states.items() if at is State.DONE)
        mended |= {index for index in done if markers[index].get(ERRORS)}
    shards = made(mended=mended)
    mends = [shards.shards[index] for index in sorted(mended)]
    shards.place.mkdir(exist_ok=True)
    missing = shards.unfinished(spared=mends)
    todo = sorted({*missing, *mends}, key=lambda shard: shard.index)
    if todo:
        models.require_loading(stage, config.models, apart=way.apart)
        begin()
    way.write(shards, todo, stage.name)
    return sum((shard.stored() or {}).get(ERRORS, 0) for shard in shards.mine)
