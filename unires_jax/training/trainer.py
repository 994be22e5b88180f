"""The training loop: batch, step, look, evaluate, save."""

import contextlib
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import numpy as np

from unires_jax import checkpoint, ending, hosts, process
from unires_jax.checkpoint import Checkpoints
from unires_jax.config import Config, to_dict
from unires_jax.data.batch import Batch
from unires_jax.data.pipeline import train_batches
from unires_jax.data.readers import PICTURES_A_CORE, reader_count
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.files import absolute, in_bucket, locate, write_whole
from unires_jax.mesh import feed
from unires_jax.training.agreement import describe_run
from unires_jax.training.progress_log import BEST_BY, Pictures, ProgressLog, say
from unires_jax.training.recipe import Recipe
from unires_jax.training.speed import asked_pictures, ideal_seconds
from unires_jax.training.start import Progress, start
from unires_jax.training.train_step import TrainState, Tree

# (step, parameters) -> metrics with BEST_BY among them, and pictures to look at.
Evaluate = Callable[[int, Tree], tuple[dict[str, float], Pictures]]

Pairs = Iterator[tuple[Batch, Batch]]  # of numpy arrays, and fed to the devices


def fit(
    recipe: Recipe,
    workdir: str | os.PathLike[str],
    tokenizer: Tokenizer,
    evaluate: Evaluate | None = None,
) -> TrainState:
    """Train to `train.steps`, resuming what the workdir holds. Returns the last state.

    On SIGTERM (or a cluster's preemption notice) it saves and returns early. `evaluate`
    gets the averaged parameters every `train.eval_every` steps and at the end.
    Raises TrainingError when a number is not finite; that state is never saved.
    """
    config, mesh = recipe.config, recipe.mesh
    workdir, steps = locate(workdir), config.train.steps
    about = describe_run(config, tokenizer)
    if not in_bucket(workdir):
        ending.know(checkpoints=str(absolute(workdir) / checkpoint.FOLDER))
    with StopSignal() as stop, Checkpoints(workdir, config.train) as checkpoints:
        state, progress = start(recipe, checkpoints, about)
        step = int(state.step)
        if step >= steps:
            say(f"{workdir} is finished: step {step} of {steps}")
            return state
        say(f"{workdir}: from step {step} to {steps} on {mesh.size} devices")
        if hosts.is_main():
            text = json.dumps(to_dict(config), indent=2) + "\n"
            write_whole(workdir / "config.json", text)
        batches = train_batches(
            config,
            tokenizer,
            start_batch=progress.batch,
            shard=hosts.shard(),
            workdir=workdir,
            workers=_workers(recipe),
        )
        ideal = ideal_seconds(config, list(mesh.devices.flat), batches.lengths)
        log = ProgressLog(workdir, config, step, ideal)
        with log, contextlib.closing(batches):
            arriving = log.waiting_for(batches)
            pairs: Pairs = ((batch, feed(batch, mesh)) for batch in arriving)
            pairs = _compiled_for(pairs, batches.lengths, recipe, state)
            if stop.received:
                say(f"stopped before step {step + 1}. The same command goes on.")
                return state
            for batch, fed in pairs:
                state, metrics = recipe.train_step(state, fed)
                step, progress = step + 1, _advance(progress, batch, config)
                log.add(step, metrics)
                if step % config.train.log_every == 0:
                    batches.agree(hosts.gather_bytes)
                stopping = stop.received or checkpoints.preempted(step)
                evaluating = evaluation_due(config, step)
                if stopping or evaluating or checkpoints.due(step):
                    log.look()  # a broken state is neither evaluated nor saved
                    evaluation: dict[str, float] = {}
                    if evaluate and evaluating:
                        evaluation, pictures = evaluate(step, state.ema or state.params)
                        log.add_evaluation(step, evaluation, pictures)
                    log.flush()
                    meta = about | progress._asdict()
                    checkpoints.save(step, state, meta, evaluation.get(BEST_BY))
                if stopping or step == steps:
                    break
    if step < steps:
        say(f"stopped at step {step} of {steps}; saved. The same command goes on.")
    return state


def _workers(recipe: Recipe) -> int:
    """How many readers this process starts: `data.workers`, or what it comes to."""
    workers, devices = recipe.config.data.workers, list(recipe.mesh.devices.flat)
    if workers >= 0:
        return workers
    place = process.place().encode()  # processes may share their cores
    cores = process.usable_cores() // hosts.gather_bytes(place).count(place)
    asked = asked_pictures(recipe.config, devices) / hosts.shard()[1]
    count = reader_count(workers, cores, asked)
    say(
        f"reader processes: {count}; of {cores} cores the devices ask for "
        f"{asked / PICTURES_A_CORE:.1f}, to read {asked:.0f} pictures/s"
    )
    return count


def _compiled_for(
    pairs: Pairs, lengths: tuple[int, ...], recipe: Recipe, state: TrainState
) -> Pairs:
    """The same batches, their step compiled in all processes for sentences so long.

    One that finds it compiled must not wait in a collective, which may give up after
    30 s, for one that compiles it.
    """
    batch, fed = next(pairs)
    *rows, own = batch.tokens.shape
    count = len({*lengths, own})
    several = f", for {count} lengths of sentences" if count > 1 else ""
    say(
        f"compiling the training step{several}: minutes for a large model or on a GPU; "
        "JAX_COMPILATION_CACHE_DIR names a folder that keeps it"
    )
    recipe.compile(state, fed)
    for length in sorted({*lengths} - {own}):
        tokens = np.zeros((*rows, length), np.int32)
        recipe.compile(state, feed(batch._replace(tokens=tokens), recipe.mesh))
    hosts.meet("compiled")
    return itertools.chain([(batch, fed)], pairs)


def _advance(progress: Progress, batch: Batch, config: Config) -> Progress:
    """Progress after a batch, as this process has seen it."""
    learns = config.loss.no_target > 0 and bool(np.any(batch.no_target))
    return progress._replace(
        batch=progress.batch + 1,
        no_target_trained=progress.no_target_trained or learns,
    )


def evaluation_due(config: Config, step: int) -> bool:
    """Every `train.eval_every` steps (0: never) and at the end."""
    every = config.train.eval_every
    return step == config.train.steps or (every > 0 and step % every == 0)


class StopSignal:
    """Notes SIGTERM while it is entered, so that the loop can save and end.

    With several processes jax itself listens and agrees on a step
    (`Checkpoints.preempted`).
    """

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> "StopSignal":
        if hosts.is_alone():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if hosts.is_alone():
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
