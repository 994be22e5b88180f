"""What the mask's grid allows on real masks, and what a finer one costs.

    python benchmarks/ceilings.py --data_dir data --splits people/mres32m:val --size 480
    python benchmarks/ceilings.py --cost                     # B/16, 480 px, 8 sentences

The ceiling is the ground truth after the grid: of each cell the share that is masked,
read as a logit. Beside dense grids of stride 8, 4 and 2 stands one of stride 4 whose
most uncertain cells are predicted anew at strides 2 and 1, as PointRend does (Kirillov
et al. 2020, arXiv 1912.08193); here they are given the truth. The cost is the time of
encoding and decoding on this machine, over that at stride 4; of the refinement, that of
choosing the cells and of a perceptron over the stem's features and the first logit.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from step import LENGTH, forward, random_batch, seconds
from tqdm import tqdm

from unires_jax import mesh as mesh_lib
from unires_jax import process
from unires_jax.config import Config
from unires_jax.data import prepared, records
from unires_jax.pixels.band import band_pair
from unires_jax.pixels.canvas import Placement, place
from unires_jax.pixels.cells import shares
from unires_jax.pixels.grid import logits_to_mask, through_grid
from unires_jax.pixels.masks import RunMask
from unires_jax.training.recipe import make_recipe

STRIDES = (8, 4, 2)
POINTS = (784, 3136)  # cells predicted anew a step; the first is PointRend's number
REPEATS = 7


def dense(mask: RunMask, placement: Placement, stride: int) -> RunMask:
    """The mask after a grid of this stride."""
    grid = placement.canvas // stride
    return RunMask.from_pixels(through_grid(mask, placement, grid))


def refined(mask: RunMask, placement: Placement, points: int) -> RunMask:
    """The mask after a grid of stride 4, its uncertain cells anew at 2 and at 1."""
    logits = shares(mask, placement, placement.canvas // 4) - np.float32(0.5)
    for stride in (2, 1):
        grid = placement.canvas // stride
        finer = cv2.resize(logits, (grid, grid), interpolation=cv2.INTER_LINEAR)
        logits = finer.astype(np.float32)
        flat = logits.reshape(-1)
        chosen = np.argpartition(abs(flat), points)[:points]
        exact = shares(mask, placement, grid) - np.float32(0.5)
        flat[chosen] = exact.reshape(-1)[chosen]
    return RunMask.from_pixels(logits_to_mask(logits, placement))


FORMS: dict[str, Callable[[RunMask, Placement], RunMask]] = {
    **{f"stride {s}": partial(dense, stride=s) for s in STRIDES},
    **{f"refined {n}": partial(refined, points=n) for n in POINTS},
}


def ceilings(data_dir: str, name: str, size: int) -> None:
    """Print the mean IoU and boundary IoU of each form, by level."""
    split = prepared.open_split(name, data_dir)
    scores: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for record in tqdm(map(split.__getitem__, range(len(split))), total=len(split)):
        placement = place(record.height, record.width, size)
        for expression in record.expressions:
            if not expression.targets:
                continue
            mask = records.target_mask(record, expression)
            level = "part" if expression.level == records.PART else "object"
            for form, after in FORMS.items():
                answer = after(mask, placement)
                inside = _share(*answer.intersection_union(mask))
                both = inside, _share(*band_pair(answer, mask))
                for row in (level, "pooled"):
                    scores.setdefault((form, row), []).append(both)
    print(f"{name}, {size} px: mIoU / boundary IoU, percent")
    for row in ("object", "part", "pooled"):
        cells = []
        for form in FORMS:
            means = np.mean(scores.get((form, row), [(np.nan, np.nan)]), axis=0)
            cells.append(f"{form} {100 * means[0]:.1f} / {100 * means[1]:.1f}")
        print(f"  {row} ({len(scores.get((form, row), []))}): " + ", ".join(cells))


def _share(intersection: int, union: int) -> float:
    return intersection / union if union else 1.0


def refinement(
    logits: Any, stem: Any, weights: tuple[Any, Any], points: int
) -> jax.Array:
    """Logits at stride 2 with their most uncertain cells from a perceptron."""
    e, g, _ = logits.shape
    fine = jax.image.resize(logits, (e, 2 * g, 2 * g), "linear").reshape(e, -1)
    _, chosen = jax.lax.top_k(-abs(fine), points)
    first = jnp.take_along_axis(fine, chosen, 1)[..., None]
    features = stem.reshape(-1, stem.shape[-1])[chosen]  # one picture
    hidden = jax.nn.relu(jnp.concatenate([features, first], -1) @ weights[0])
    return fine.at[jnp.arange(e)[:, None], chosen].set((hidden @ weights[1])[..., 0])


def cost(expressions: int = 8, size: int = 480) -> None:
    """Print what a finer grid costs at B/16."""
    times: dict[str, float] = {}
    for stride in (4, 2):
        config = Config()
        config.train.batch, config.model.mask_stride = 1, stride
        config.model.image_size = size
        mesh = mesh_lib.make_mesh(config.mesh, jax.devices()[:1])
        recipe = make_recipe(config, mesh)
        batch = mesh_lib.feed(random_batch(config, expressions), mesh)
        state, run = recipe.init(), jax.jit(forward(recipe.apply))
        call = partial(run, state.params, batch)
        times[f"stride {stride}"] = statistics.median(seconds(call, REPEATS))
    channels, g = config.model.stem_channels, size // 4
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(expressions, g, g)), jnp.float32)
    stem = jnp.asarray(rng.normal(size=(2 * g, 2 * g, channels)), jnp.float32)
    weights = jnp.ones((channels + 1, 128)), jnp.ones((128, 1))
    for points in POINTS:
        refine = jax.jit(partial(refinement, points=points))
        call = partial(refine, logits, stem, weights)
        extra = statistics.median(seconds(call, REPEATS))
        times[f"refined {points} once"] = times["stride 4"] + extra
    print(f"B/16, {size} px, {expressions} sentences of {LENGTH} tokens, one picture:")
    for name, value in times.items():
        print(f"  {name}: {value:.3f} s, {value / times['stride 4']:.3f} times")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="data", type=Path)
    parser.add_argument("--splits", nargs="*", default=[])
    parser.add_argument("--size", type=int, default=480, help="side of the canvas")
    parser.add_argument("--cost", action="store_true")
    args = parser.parse_args()
    process.start()
    start = time.monotonic()
    for name in args.splits:
        ceilings(str(args.data_dir), name, args.size)
    if args.cost:
        cost(size=args.size)
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
