"""The work of a training step, counted by hand: matrix products and convolutions.

What a step is worth, whatever program does it: its duration against this count and the
chip's matmul rate is the model FLOP utilisation (MFU, Chowdhery et al. 2022, PaLM,
appendix B). Norms, activations, the loss and the optimizer are left out, and so is what
is computed twice to save memory. A multiplication and an addition are two.
"""

from unires_jax.config import (
    Config,
    ModelConfig,
    has_network,
    has_product_head,
    has_second_stage,
    is_pretrained,
    mask_grid,
    patch_cells,
    split_layer,
    training_model,
)
from unires_jax.models.backbones import towers_of
from unires_jax.models.efficientnet import SHAPES, STEM, map_channels
from unires_jax.models.pixel_features import pixel_steps, stem_cells

BACKWARD = 2  # gradients of inputs and of weights, each as much as the forward pass


def train_step_flops(config: Config, length: int | None = None) -> float:
    """FLOPs of one update, all hosts together.

    `length` is the tokens of each sentence as padded; None: the shortest bucket's. The
    backward pass counts twice the forward pass, a frozen text tower none.
    """
    model, k = training_model(config.model), config.data.expressions
    length = config.data.lengths[0] if length is None else length
    frozen = config.optim.text_rate == 0 and is_pretrained(config)
    passes = 1 + BACKWARD
    trained = image_flops(model) + k * decode_flops(model, length)
    text = k * text_flops(model, length) * (1 if frozen else passes)
    return float(config.train.batch * (passes * trained + text))


def forward_flops(model: ModelConfig, expressions: int, length: int) -> float:
    """FLOPs of the answer to so many expressions of one picture."""
    each = text_flops(model, length) + decode_flops(model, length)
    return float(image_flops(model) + expressions * each)


def image_flops(model: ModelConfig) -> int:
    """FLOPs of `UniRES.encode_image` for one picture."""
    vision, d, n = model.vision, model.width, _patches(model)
    low, high = _groups(model)
    prefix, split = towers_of(model).vision.prefix, split_layer(model)
    work = 2 * n * 3 * vision.patch**2 * vision.width
    for blocks, groups in ((split, low), (vision.depth - split, high)):
        work += blocks * _block(prefix + n + groups, vision.width, vision.mlp)
    kept = low + high if has_second_stage(model) else 0
    work += 2 * (n + kept) * vision.width * d  # to the decoder's width
    mixers = 0 if model.figure_only else model.mixer_layers
    work += mixers * _fusion(model, n, n) + _stem(model)
    return work + (_pixels if has_product_head(model) else _detail)(model)


def text_flops(model: ModelConfig, length: int) -> int:
    """FLOPs of the text tower for one sentence. Looking words up costs nothing."""
    text = model.text
    if towers_of(model).text.fills_up:
        length = text.context
    return text.depth * _block(length, text.width, text.mlp)


def decode_flops(model: ModelConfig, length: int) -> int:
    """FLOPs of the words' projection and of `UniRES.decode` for one expression."""
    d, n, (low, high) = model.width, _patches(model), _groups(model)
    ours = not model.figure_only
    shares, gated = ours and model.share_eos, ours and model.gate
    work = 2 * length * model.text.width * d + 2 * d**2 * (shares + gated)
    words = _fusion(model, n, length)
    if has_second_stage(model):
        second = _fusion(model, n, low + high)
        work += _filter(model, low, length) + _filter(model, high, length)
    else:
        second = words  # one stage of double depth
    work += model.stage_layers * (words + second)
    return work + _heads(model, gated)


def _block(length: int, width: int, hidden: int) -> int:
    """A tower's block: four projections, two products of attention, two dense."""
    return 8 * length * width**2 + 4 * length**2 * width + 4 * length * width * hidden


def _fusion(model: ModelConfig, queries: int, keys: int) -> int:
    """`FusionLayer`."""
    d = model.width
    attention = 4 * queries * d**2 + 4 * keys * d**2 + 4 * queries * keys * d
    return attention + 4 * queries * model.mlp_ratio * d**2


def _filter(model: ModelConfig, groups: int, length: int) -> int:
    """`FusionLayer` of a filter: over words, or the ablation without any."""
    if not groups:
        return 0
    if model.filters == "lrf":
        return _fusion(model, groups, length)
    return 4 * groups * (2 + model.mlp_ratio) * model.width**2


def _stem(model: ModelConfig) -> int:
    """The stem, and its way into the patches."""
    if has_network(model):
        return _network_stem(model)
    channels, (half, quarter) = _stem_channels(model), _stem_sides(model)
    work = 18 * channels * (3 * half**2 + 2 * channels * quarter**2)
    if model.stem_to_patches:
        patch, n = model.vision.patch, _patches(model)
        grid = model.image_size // patch * stem_cells(patch)
        work += _resize(quarter, grid, channels)
        work += 2 * n * stem_cells(patch) ** 2 * channels * model.vision.width
    return work


def _network_stem(model: ModelConfig) -> int:
    """`NetworkStem`, and its deep maps' way into the patches."""
    channels, widths, blocks = model.stem_channels, map_channels(model.stem), 0
    sides = [-(-model.image_size // 2)]  # of the maps
    first = 2 * 27 * STEM * sides[0] ** 2
    for block in SHAPES[model.stem]:
        if block.expansion > 1:
            blocks += 2 * block.inputs * block.hidden * sides[-1] ** 2
        if block.stride == 2:
            sides.append(-(-sides[-1] // 2))
        after = block.kernel**2 + block.outputs
        blocks += 2 * after * block.hidden * sides[-1] ** 2
    _, quarter, eighth, sixteenth, last = sides
    work = first + blocks + _resize(eighth, quarter, channels)
    work += _resize(last, sixteenth, widths[4])
    work += sum(2 * widths[i] * channels * sides[i] ** 2 for i in range(3))
    if model.stem_to_patches:
        grid, deep = model.image_size // model.vision.patch, sum(widths[3:])
        work += _resize(sixteenth, grid, deep)
        work += 2 * grid**2 * deep * model.vision.width
    return work


def _detail(model: ModelConfig) -> int:
    """The stem on the mask grid, in the channels of the head that upsamples."""
    channels, (_, quarter) = _stem_channels(model), _stem_sides(model)
    grid = mask_grid(model)
    work = _resize(quarter, grid, channels)
    return work + 2 * grid**2 * channels * model.mask_channels


def _pixels(model: ModelConfig) -> int:
    """`PixelFeatures`, of a grid or of two."""
    c, n, stem = model.mask_channels, _patches(model), _stem_channels(model)
    work = 2 * n * len(model.pixel_layers) * model.vision.width * model.width
    grids = [round(n**0.5) * cells for cells in pixel_steps(model)]
    work += 2 * grids[0] ** 2 * model.width * c + 18 * grids[0] ** 2 * c**2
    if len(grids) == 2:
        work += 8 * grids[0] ** 2 * c**2
    for grid in grids:
        half, quarter = _stem_sides(model)
        work += _resize(half if grid > quarter else quarter, grid, stem)
        work += 2 * grid**2 * stem * c
    return work + 18 * grids[-1] ** 2 * c**2


def _resize(side: int, grid: int, channels: int) -> int:
    """`pixel_features.resize`, of a map of so many cells a side."""
    return 0 if side == grid else 2 * channels * grid * side * (side + grid)


def _stem_channels(model: ModelConfig) -> int:
    return 0 if model.figure_only else model.stem_channels


def _stem_sides(model: ModelConfig) -> tuple[int, int]:
    """Cells along the side of the stem's two maps."""
    half = -(-model.image_size // 2)
    return half, -(-half // 2)


def _heads(model: ModelConfig, gated: bool) -> int:
    """The mask head and the no-target head of one expression."""
    d, c, n = model.width, model.mask_channels, _patches(model)
    if has_product_head(model):
        cells, first = patch_cells(model) ** 2, pixel_steps(model)[0] ** 2
        mask = 2 * n * (d * (c + 1 + first) + cells * c)
    else:
        cells = mask_grid(model) ** 2
        mask = cells * (2 * d * c + 18 * c**2 + 2 * c) + 2 * d * c * gated
    return mask + 4 * d**2 + 2 * d


def _patches(model: ModelConfig) -> int:
    return (model.image_size // model.vision.patch) ** 2


def _groups(model: ModelConfig) -> tuple[int, int]:
    """Low and high group tokens; ablations move the absent level's to the other."""
    both = model.low_groups + model.high_groups
    return {
        "both": (model.low_groups, model.high_groups),
        "low": (both, 0),
        "high": (0, both),
        "none": (0, 0),
    }[model.groups]
