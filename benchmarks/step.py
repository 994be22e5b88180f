"""Training step, forward pass and shared image encoding on this machine's CPU.

    python benchmarks/step.py            # about 3 minutes on 2 cores

B/16 at 480 px, 2 images x 4 expressions of 32 tokens, float32, median of 5. Peak is the
best float32 matmul of three shapes in the same run. Model FLOPs are the matmuls of the
forward pass, attention included; the backward pass counts twice that, recomputation
nothing.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from unires_jax import mesh as mesh_lib
from unires_jax import process
from unires_jax.config import Config
from unires_jax.data.batch import Batch
from unires_jax.models.unires import Apply
from unires_jax.training.recipe import make_recipe

IMAGES, EXPRESSIONS, LENGTH, REPEATS = 2, 4, 32, 5
PEAK_SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (964, 768, 3072))


def seconds(call: Callable[[], Any], repeats: int) -> list[float]:
    """Times of `repeats` calls after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return times


def peak_flops() -> float:
    """Best rate of a float32 matmul, FLOP/s."""
    rates = []
    for m, k, n in PEAK_SHAPES:
        a, b = jnp.ones((m, k)), jnp.ones((k, n))
        matmul = jax.jit(jnp.matmul)
        times = seconds(lambda a=a, b=b, f=matmul: f(a, b), 20)
        rates.append(2 * m * k * n / min(times))
    return max(rates)


def matmul_flops(jaxpr: core.Jaxpr) -> int:
    """FLOPs of all matrix products of a program, loops counted in full."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = np.prod([shape[i] for i in contracted], dtype=int)
            total += 2 * depth * np.prod(equation.outvars[0].aval.shape, dtype=int)
        inner = sum(matmul_flops(sub) for sub in core.jaxprs_in_params(equation.params))
        total += inner * equation.params.get("length", 1)
    return int(total)


def random_batch(config: Config, k: int) -> Batch:
    """A batch of noise."""
    rng = np.random.default_rng(0)
    b, s, grid = config.train.batch, config.model.image_size, config.model.image_size
    grid //= config.model.mask_stride
    return Batch(
        images=rng.integers(0, 256, (b, s, s, 3), dtype=np.uint8),
        extent=np.full((b, 2), s, np.int32),
        tokens=rng.integers(1, 1000, (b, k, LENGTH), dtype=np.int32),
        lengths=np.full((b, k), LENGTH, np.int32),
        masks=rng.integers(0, 256, (b, k, grid, grid), dtype=np.uint8),
        valid=np.ones((b, k), bool),
        no_target=np.zeros((b, k), bool),
        level=np.zeros((b, k), np.int32),
    )


def forward(apply: Apply) -> Callable[..., Any]:
    """Images and expressions to mask logits."""

    def run(params: Any, batch: Batch) -> Any:
        e = batch.valid.size
        model = apply.bind(params)
        features = model.encode_image(batch.images, batch.extent)
        lengths = batch.lengths.reshape(e)
        words = model.encode_text(batch.tokens.reshape(e, -1), lengths)
        return model.decode(features, words, lengths)

    return run


def main() -> None:
    """Print the three figures."""
    process.start()
    config = Config()
    config.train.batch = IMAGES
    mesh = mesh_lib.make_mesh(config.mesh, jax.devices()[:1])
    recipe = make_recipe(config, mesh)
    batch = mesh_lib.feed(random_batch(config, EXPRESSIONS), mesh)
    state = recipe.init()
    run = forward(recipe.apply)
    flops = matmul_flops(jax.make_jaxpr(run)(state.params, batch).jaxpr)
    print(f"model: {flops / 1e9:.0f} GFLOP forward, {3 * flops / 1e9:.0f} a step")
    peak = peak_flops()

    jitted = jax.jit(run)
    forward_time = statistics.median(
        seconds(lambda: jitted(state.params, batch), REPEATS)
    )
    shared: list[float] = []
    for k in (1, 8):
        single = jax.tree.map(lambda x: x[:1], random_batch(config, k))
        times = seconds(lambda b=single: jitted(state.params, b), REPEATS)
        shared.append(statistics.median(times))
        print(f"1 image x {k} expressions: {shared[-1]:.3f} s")
    print(f"8 expressions against 1: {shared[1] / shared[0]:.2f} times")

    carried = [state]

    def update() -> Any:
        carried[0], metrics = recipe.train_step(carried[0], batch)
        return metrics, carried[0].params

    del state
    step_time = statistics.median(seconds(update, REPEATS))
    peak = max(peak, peak_flops())
    print(f"peak {peak / 1e9:.0f} GFLOP/s")
    for name, work, duration in [
        ("forward", flops, forward_time),
        ("training step", 3 * flops, step_time),
    ]:
        print(f"{name}: {duration:.2f} s, {work / duration / peak:.2f} of peak")


if __name__ == "__main__":
    main()
