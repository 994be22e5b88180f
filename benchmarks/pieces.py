"""Where the processor time of a training step goes, piece by piece.

    taskset -c 0 python benchmarks/pieces.py                       # the quickstart
    taskset -c 0 python benchmarks/pieces.py --config.model.stage_layers=2

A piece runs alone, forward and backward, on a batch of the training; its time is the
processor's, median of 8, so other programs decide little. What the pieces lack to
the whole step is the loss, the average of the weights, and what compiling all at once
saves or costs. Rates are model FLOPs against the best float32 matmul of the same run.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table
from step import PEAK_SHAPES, matmul_flops

from unires_jax import app, process
from unires_jax.data.pipeline import run_tokenizer, train_batches
from unires_jax.mesh import feed, make_mesh
from unires_jax.training import optim
from unires_jax.training.recipe import make_recipe

ROOT = Path(__file__).parents[1]
REPEATS = 8


def cost(call: Callable[[], Any]) -> float:
    """Processor seconds of a call, after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        jax.block_until_ready(call())
        times.append(time.process_time() - start)
    return statistics.median(times)


def peak() -> float:
    """Best rate of a float32 matmul, FLOP per processor second."""
    rates = []
    for m, k, n in PEAK_SHAPES:
        a, b, matmul = jnp.ones((m, k)), jnp.ones((k, n)), jax.jit(jnp.matmul)
        call = lambda a=a, b=b, matmul=matmul: matmul(a, b)  # noqa: E731
        rates.append(2 * m * k * n / cost(call))
    return max(rates)


def total(tree: Any) -> Any:
    """Something that depends on all of a tree, for gradients."""
    return sum(jnp.sum(x.astype(jnp.float32) ** 2) for x in jax.tree.leaves(tree))


def main() -> None:
    """Print the table."""
    process.start()
    arguments = ["", f"--config={ROOT / 'configs' / 'quickstart.py'}", *sys.argv[1:]]
    config, _ = app.parse_config(arguments)
    recipe = make_recipe(config, make_mesh(config.mesh, jax.devices()[:1]))
    batches = train_batches(config, run_tokenizer(config), workers=0)
    reading = cost(lambda: next(batches).images)
    batch = feed(next(batches), recipe.mesh)
    batches.close()
    state = recipe.init()
    params, apply = state.params, recipe.apply
    tokens = batch.tokens.reshape(-1, batch.tokens.shape[-1])
    lengths = batch.lengths.reshape(-1)
    features = jax.jit(apply.encode_image)(params, batch.images, batch.extent)
    words = jax.jit(apply.encode_text)(params, tokens, lengths)

    def image(p: Any) -> Any:
        return total(apply.encode_image(p, batch.images, batch.extent))

    def text(p: Any) -> Any:
        return total(apply.encode_text(p, tokens, lengths))

    def decode(p: Any, f: Any, w: Any) -> Any:
        return total(apply.decode(p, f, w, lengths))

    optimizer = optim.make_optimizer(config, params)
    update = jax.jit(lambda g, s, p: optimizer.update(g, s, p))
    pieces = {"reader, a batch of it": (reading, None)}
    for name, function, inputs in (
        ("image tower, stem, pixels", image, (params,)),
        ("text tower", text, (params,)),
        ("decoder and heads", decode, (params, features, words)),
    ):
        gradient = jax.jit(jax.grad(function, argnums=tuple(range(len(inputs)))))
        work = matmul_flops(jax.make_jaxpr(gradient)(*inputs).jaxpr)
        pieces[name] = cost(lambda f=gradient, x=inputs: f(*x)), work
    pieces["optimizer"] = (
        cost(lambda: update(params, state.opt_state, params)),
        matmul_flops(jax.make_jaxpr(update)(params, state.opt_state, params).jaxpr),
    )
    best = peak()
    kept = [state]
    del state, params

    def step() -> Any:
        kept[0], metrics = recipe.train_step(kept[0], batch)
        return metrics

    whole = cost(step)
    table = Table("piece", "CPU ms", "of a step", "GFLOP", "of the matmul's rate")
    for name, (seconds, work) in (
        *pieces.items(),
        ("the step, as compiled", (whole, None)),
    ):
        rate = "" if work is None else f"{work / seconds / best:.2f}"
        row = (f"{1000 * seconds:.0f}", f"{seconds / whole:.2f}")
        table.add_row(name, *row, "" if work is None else f"{work / 1e9:.1f}", rate)
    Console().print(table)
    print(f"matmul: {best / 1e9:.0f} GFLOP/s of a processor second")


if __name__ == "__main__":
    main()
