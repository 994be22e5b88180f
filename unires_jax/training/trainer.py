"""The training loop: batch, step, look, evaluate, save."""

import contextlib
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from unires_jax.checkpoint import Checkpoints, describe
from unires_jax.config import Config, to_dict
from unires_jax.data.pipeline import open_splits, train_batches
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import TrainingError
from unires_jax.files import write_whole
from unires_jax.mesh import feed, is_main, make_mesh
from unires_jax.training.metric_writer import MetricWriter
from unires_jax.training.start import Progress, start
from unires_jax.training.train_step import Metrics, Rows, TrainState, make_train_step

# The score of an evaluation, by which the best checkpoint is chosen.
SCORE = "pooled/mIoU"

Tree = dict[str, Any]
Pictures = dict[str, np.ndarray]  # RGB uint8 [h, w, 3]
# (step, parameters) -> metrics with SCORE among them, and pictures to look at.
Evaluate = Callable[[int, Tree], tuple[dict[str, float], Pictures]]


def fit(
    config: Config,
    workdir: str | Path,
    tokenizer: Tokenizer,
    evaluate: Evaluate | None = None,
) -> TrainState:
    """Train to `train.steps`, resuming what the workdir holds. Returns the last state.

    On SIGTERM (or a cluster's preemption notice) it saves and returns early. `evaluate`
    gets the averaged parameters every `train.eval_every` steps and at the end.
    Raises TrainingError when a number is not finite; that state is never saved.
    """
    workdir, steps = Path(workdir), config.train.steps
    mesh = make_mesh(config.mesh)
    prints = [split.fingerprint() for split in open_splits(config)]
    data = dict(zip(config.data.train, prints, strict=True))
    about = describe(config, tokenizer.to_json(), data)
    with StopSignal() as stop, Checkpoints(workdir, config.train) as checkpoints:
        state, progress = start(config, mesh, checkpoints, about)
        step = int(state.step)
        if step >= steps:
            say(f"{workdir} is finished: step {step} of {steps}")
            return state
        say(f"{workdir}: from step {step} to {steps} on {mesh.size} devices")
        _write_config(workdir, config)
        train_step = make_train_step(config, mesh)
        batches: Any = train_batches(
            config,
            tokenizer,
            start_batch=progress.batch,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            workdir=workdir,
        )
        with Watch(workdir, config, step) as watch, contextlib.closing(batches):
            while step < steps:
                rows = Rows(*next(batches))
                state, metrics = train_step(state, feed(rows, mesh))
                step, progress = step + 1, _advance(progress, rows, config)
                watch.put(step, metrics)
                stopping = stop.asked or checkpoints.preempted(step)
                evaluating = evaluation_due(config, step)
                if stopping or evaluating or checkpoints.due(step):
                    watch.look()  # a broken state is neither evaluated nor saved
                    scores: dict[str, float] = {}
                    if evaluate and evaluating:
                        scores, pictures = evaluate(step, state.ema or state.params)
                        watch.evaluated(step, scores, pictures)
                    score = scores.get(SCORE)
                    meta = about | progress._asdict()
                    checkpoints.save(step, state, meta, score)
                if stopping:
                    break
    if step < steps:
        say(f"stopped at step {step} of {steps}; saved. The same command goes on.")
    return state


def _advance(progress: Progress, rows: Rows, config: Config) -> Progress:
    """Progress after a batch, as this process has seen it."""
    learns = config.loss.no_target > 0 and bool(np.any(rows.no_target))
    return Progress(progress.batch + 1, progress.no_target_trained or learns)


def evaluation_due(config: Config, step: int) -> bool:
    """Every `train.eval_every` steps (0: never) and at the end."""
    every = config.train.eval_every
    return step == config.train.steps or (every > 0 and step % every == 0)


def pictures_due(config: Config, step: int) -> bool:
    """The first evaluation from each `train.picture_every` steps on, and the last."""
    every, since = config.train.picture_every, step - config.train.eval_every
    return every > 0 and (step == config.train.steps or step // every > since // every)


class StopSignal:
    """Notes SIGTERM, so that the loop can save and end.

    With several processes jax itself listens and agrees on a step (`preempted`).
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "StopSignal":
        if jax.process_count() == 1:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


class Watch:
    """Looks at each step's numbers while the next one runs: devices never wait for it.

    Writes them every `train.log_every` steps and shows the progress. The numbers are
    those of the step itself, so that a resumed run writes what an unbroken one does.
    """

    def __init__(self, workdir: Path, config: Config, step: int) -> None:
        self._config = config
        self._writer = MetricWriter(workdir, step) if is_main() else None
        self._unseen: tuple[int, Metrics] | None = None
        self._bar = tqdm(
            total=config.train.steps,
            initial=step,
            unit="step",
            disable=not is_main(),
            mininterval=1 if sys.stderr.isatty() else 30,
            dynamic_ncols=True,
        )
        self._restart_clock(step)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._writer:
            self._writer.close()

    def _restart_clock(self, step: int) -> None:
        self._clock = step, time.monotonic()

    def put(self, step: int, metrics: Metrics) -> None:
        """Take a step's numbers, and look at those of the step before."""
        self.look()
        self._unseen = step, metrics

    def look(self) -> None:
        """Wait for the step put last. Raises TrainingError if it broke."""
        if self._unseen is None:
            return
        (step, metrics), self._unseen = self._unseen, None
        check_finite(step, metrics)
        self._bar.update()
        every = self._config.train.log_every
        if step % every == 0 or step in (1, self._config.train.steps):
            self._write(step, metrics)

    def _write(self, step: int, metrics: Metrics) -> None:
        values = {f"train/{k}": float(v) for k, v in jax.device_get(metrics).items()}
        self._bar.set_postfix(loss=f"{values['train/loss']:.3f}", refresh=False)
        since, start = self._clock
        images = (step - since) * self._config.train.batch
        values["train/images_per_second"] = images / (time.monotonic() - start)
        self._restart_clock(step)
        if self._writer:
            self._writer.scalars(step, values)

    def evaluated(
        self, step: int, scores: Mapping[str, float], pictures: Pictures
    ) -> None:
        """Write what an evaluation found."""
        if self._writer:
            self._writer.scalars(step, {f"eval/{k}": v for k, v in scores.items()})
            if pictures_due(self._config, step):
                self._writer.pictures(step, pictures)
        if SCORE in scores:
            say(f"step {step}: {SCORE} {scores[SCORE]:.4f}")
        self._restart_clock(step)


def check_finite(step: int, metrics: Metrics) -> None:
    """Raise TrainingError naming the step and the parameter groups that broke."""
    loss, norm = jax.device_get((metrics["loss"], metrics["grad_norm"]))
    if math.isfinite(loss) and math.isfinite(norm):
        return
    prefix = "grad_norm/"
    norms = {k.removeprefix(prefix): v for k, v in metrics.items() if prefix in k}
    broken = [k for k, v in norms.items() if not math.isfinite(v)]
    raise TrainingError(
        f"step {step}: loss {loss}, gradient norm {norm}; not finite in the parameter "
        f"groups {', '.join(broken) or 'taken together'}. Nothing of this step is "
        "saved. Lower the rates, or lengthen optim.warmup."
    )


def say(message: str) -> None:
    """Print from one process, beside the progress bar."""
    if is_main():
        tqdm.write(message)
        sys.stdout.flush()


def _write_config(workdir: Path, config: Config) -> None:
    if is_main():
        text = json.dumps(to_dict(config), indent=2) + "\n"
        write_whole(workdir / "config.json", text)
