"""EfficientNet-Lite's published layout with random numbers, and a narrow network."""

from collections.abc import Sequence

import numpy as np

from unires_jax.models.efficientnet import BlockShape

# Few channels: quick to compile. In place of a row of `efficientnet.SHAPES`.
NARROW = [BlockShape(3, 1, 32, 1, 4), *[BlockShape(5, 2, 4, 6, 4)] * 4]


def layout(blocks: Sequence[BlockShape]) -> dict[str, tuple[int, ...]]:
    """The tensors' shapes as published, some of what is not ours among them."""
    shapes: dict[str, tuple[int, ...]] = {"_conv_stem.weight": (32, 3, 3, 3)}
    norms = {"_bn0": 32, "_bn1": 1280}
    for i, b in enumerate(blocks):
        at = f"_blocks.{i}."
        if b.expansion > 1:
            shapes[f"{at}_expand_conv.weight"] = (b.hidden, b.inputs, 1, 1)
            norms[f"{at}_bn0"] = b.hidden
        shapes[f"{at}_depthwise_conv.weight"] = (b.hidden, 1, b.kernel, b.kernel)
        shapes[f"{at}_project_conv.weight"] = (b.outputs, b.hidden, 1, 1)
        norms |= {f"{at}_bn1": b.hidden, f"{at}_bn2": b.outputs}
    shapes["_fc.weight"] = (10, 1280)
    parts = ("weight", "bias", "running_mean", "running_var")
    return shapes | {f"{n}.{x}": (c,) for n, c in norms.items() for x in parts}


def random_tensors(blocks: Sequence[BlockShape]) -> dict[str, np.ndarray]:
    """Of a size that keeps the activations' scale."""
    rng = np.random.default_rng(1)
    drawn = {}
    for name, shape in layout(blocks).items():
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.2
        drawn[name] = rng.normal(0, spread, shape).astype(np.float32)
        if name.endswith(("bn0.weight", "bn1.weight", "bn2.weight", "running_var")):
            drawn[name] = np.abs(drawn[name]) + np.float32(0.7)
    return drawn
