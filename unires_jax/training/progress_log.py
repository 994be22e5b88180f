"""What a run says of itself while it trains: numbers, pictures, a progress bar."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TypeVar

import jax
import numpy as np
from tqdm import tqdm

from unires_jax import hosts
from unires_jax.config import Config
from unires_jax.errors import TrainingError
from unires_jax.files import Location
from unires_jax.training.metric_writer import MetricWriter
from unires_jax.training.train_step import Metrics

# The number of an evaluation by which the best checkpoint is chosen.
BEST_BY = "pooled/mIoU"

T = TypeVar("T")
Pictures = Mapping[str, np.ndarray]  # RGB uint8 [h, w, 3]


class ProgressLog(contextlib.AbstractContextManager["ProgressLog"]):
    """Looks at each step's numbers while the next one runs: devices never wait for it.

    Writes them every `train.log_every` steps and shows the progress. The numbers are
    those of the step itself, so that a resumed run writes what an unbroken one does.
    Beside them stand, as means since the line before: images_per_second, step_seconds,
    data_wait (share of the time in which the loop had no batch; the devices still work
    on the step before then, so it bounds their idle time from above) and mfu (model
    FLOP utilisation, see `flops`; absent where the devices' peak is not known).
    """

    def __init__(
        self,
        workdir: Location,
        config: Config,
        step: int,
        ideal_seconds: float | None = None,
    ) -> None:
        """Go on after `step`. Every process holds one; the main one writes.

        `ideal_seconds` are those of a step at the peak of the devices.
        """
        self._config, self._ideal = config, ideal_seconds
        self._writer = MetricWriter(workdir, step) if hosts.is_main() else None
        self._pending: tuple[int, Metrics] | None = None
        self._bar = tqdm(
            total=config.train.steps,
            initial=step,
            unit="step",
            disable=not hosts.is_main(),
            mininterval=1 if sys.stderr.isatty() else 30,
            dynamic_ncols=True,
        )
        self._restart_clock(step)

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._writer:
            self._writer.close()

    def _restart_clock(self, step: int) -> None:
        self._clock, self._waited = (step, time.monotonic()), 0.0

    def waiting_for(self, batches: Iterator[T]) -> Iterator[T]:
        """The batches; until each comes, the loop counts as waiting."""
        start = time.monotonic()
        for batch in batches:
            self._waited += time.monotonic() - start
            yield batch
            start = time.monotonic()

    def add(self, step: int, metrics: Metrics) -> None:
        """Take a step's numbers, and look at those of the step before."""
        self.look()
        self._pending = step, metrics

    def look(self) -> None:
        """Wait for the step added last. Raises TrainingError if it broke."""
        if self._pending is None:
            return
        (step, metrics), self._pending = self._pending, None
        check_finite(step, metrics)
        self._bar.update()
        every = self._config.train.log_every
        if step % every == 0 or step in (1, self._config.train.steps):
            self._write(step, metrics)

    def _write(self, step: int, metrics: Metrics) -> None:
        values = {f"train/{k}": float(v) for k, v in jax.device_get(metrics).items()}
        self._bar.set_postfix(loss=f"{values['train/loss']:.3f}", refresh=False)
        values |= {f"train/{k}": v for k, v in self._speed(step).items()}
        self._restart_clock(step)
        if self._writer:
            self._writer.scalars(step, values)

    def _speed(self, step: int) -> dict[str, float]:
        since, start = self._clock
        seconds = time.monotonic() - start
        speed = {
            "images_per_second": (step - since) * self._config.train.batch / seconds,
            "step_seconds": seconds / (step - since),
            "data_wait": self._waited / seconds,
        }
        if self._ideal:
            speed["mfu"] = self._ideal / speed["step_seconds"]
        return speed

    def add_evaluation(
        self, step: int, metrics: Mapping[str, float], pictures: Pictures
    ) -> None:
        """Write what an evaluation came to."""
        if self._writer:
            self._writer.scalars(step, {f"eval/{k}": v for k, v in metrics.items()})
            if pictures_due(self._config, step):
                self._writer.pictures(step, pictures)
        if BEST_BY in metrics:
            say(f"step {step}: {BEST_BY} {metrics[BEST_BY]:.4f}")
        self._restart_clock(step)

    def flush(self) -> None:
        """Bring what was written into its files, before the checkpoint that follows."""
        if self._writer:
            self._writer.flush()


def pictures_due(config: Config, step: int) -> bool:
    """The first evaluation from each `train.picture_every` steps on, and the last."""
    every, since = config.train.picture_every, step - config.train.eval_every
    return every > 0 and (step == config.train.steps or step // every > since // every)


def check_finite(step: int, metrics: Metrics) -> None:
    """Raise TrainingError naming the step and the modules of the model that broke."""
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
    if hosts.is_main():
        tqdm.write(message)
        sys.stdout.flush()
