"""What a run says of itself while it trains: numbers, pictures, a progress bar."""

import contextlib
import math
import sys
import time
from collections.abc import Mapping

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

Pictures = Mapping[str, np.ndarray]  # RGB uint8 [h, w, 3]


class ProgressLog(contextlib.AbstractContextManager["ProgressLog"]):
    """Looks at each step's numbers while the next one runs: devices never wait for it.

    Writes them every `train.log_every` steps and shows the progress. The numbers are
    those of the step itself, so that a resumed run writes what an unbroken one does.
    """

    def __init__(self, workdir: Location, config: Config, step: int) -> None:
        """Go on after `step`. Every process holds one; the main one writes."""
        self._config = config
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
        self._clock = step, time.monotonic()

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
        since, start = self._clock
        images = (step - since) * self._config.train.batch
        values["train/images_per_second"] = images / (time.monotonic() - start)
        self._restart_clock(step)
        if self._writer:
            self._writer.scalars(step, values)

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
