"""Every setting of the engine, as typed dataclasses. Source: ours unless said.

A config file builds an `EngineConfig` (`configs/engine.py`); flags override single
fields (`--config.thresholds.stability=0.95`).
"""

import dataclasses

from unires_jax.errors import ConfigError


@dataclasses.dataclass
class ModelSettings:
    """Which model answers for a role: <backend>:<folder or hub id>."""

    segmenter: str = "sam2:facebook/sam2.1-hiera-large"
    part_finder: str = "owlv2:google/owlv2-base-patch16-ensemble"
    captioner: str = "florence2:florence-community/Florence-2-base"
    scorer: str = "clip:openai/clip-vit-large-patch14-336"
    grounder: str = ""  # of the cycle check, "predictor:<run>" say; "" = no check
    vocabulary: str = "shipped"  # part names; or "causal_lm:<folder or hub id>"
    device: str = "auto"  # "cpu", "cuda:1"; "auto" = the first accelerator, or the CPU
    dtype: str = "auto"  # of weights: "float32", "bfloat16"; "auto" = by the device
    batch: int = 32  # regions asked for at once; halved where memory ends


@dataclasses.dataclass
class Thresholds:
    """What a region or text must reach. In brackets: the code of what does not."""

    side: float = 8.0  # of a box, pixels [B2]
    box_area: float = 0.0005  # of the picture [B2]
    twin: float = 0.95  # IoU of two boxes of one category, at most [B3]
    pred_iou: float = 0.80  # [M1]; SA-1B: .88
    stability: float = 0.90  # [M2]; SA-1B: .95
    mask_area: float = 0.95  # of the picture, at most [M3]
    mask_pixels: int = 32  # at least [M3]
    box_iou: float = 0.60  # [M4]; GranD: .65
    in_box: float = 0.90  # [M4]
    largest: float = 0.70  # [M5]
    detector: float = -1.0  # [P1]; -1 = by the part finder: owlv2 .15, sam3 .30, .25
    contain: float = 0.80  # [P2]
    part_area_min: float = 0.003  # of the object [P3]
    part_area_max: float = 0.85  # of the object, and IoU with it, at most [P3]
    same_name: float = 0.5  # IoU of candidates of one name, at most [P4]
    same_place: float = 0.85  # IoU of parts of two names, at most [P4]
    parts: int = 12  # of an object, at most [P4]
    clip: float = 0.20  # cosine [C1]
    clip_margin: float = -0.02  # ahead of the picture's other texts [C2]
    clip_share: float = 0.10  # lowest of each category, dropped [C3]
    own_iou: float = 0.50  # the grounder's answer with its region [U1]
    ahead: float = 0.20  # of every other region [U1]
    absent: float = 0.10  # a negative's score in the picture, at most [U3]
    extra: float = 0.30  # score of an instance that has no box [T4]


@dataclasses.dataclass
class ExpressionSettings:
    """What is said."""

    negatives: float = 0.15  # share of texts that denote nothing
    plurals: bool = True
    paraphrases: bool = True
    typos: bool = False  # one text in 50 with one typing error
    colour_share: float = 0.70  # of a region's eroded pixels that a colour word needs
    object_side: int = 96  # pixels; smaller objects are not searched for parts
    crop: float = 0.10  # by which an object's crop grows on each side


@dataclasses.dataclass
class EngineConfig:
    """A run of the engine."""

    models: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    preset: str = "default"  # of thresholds: none, lenient, default, strict
    thresholds: Thresholds = dataclasses.field(default_factory=Thresholds)
    expressions: ExpressionSettings = dataclasses.field(
        default_factory=ExpressionSettings
    )
    shard: int = 64  # pictures of one shard
    seed: int = 0


PRESETS = ("none", "lenient", "default", "strict")
DTYPES = ("auto", "float32", "bfloat16")
_COUNTS = ("mask_pixels", "parts")  # thresholds that are whole numbers from 0
_SIGNED = ("detector", "clip", "clip_margin")  # those that may be below 0


def validate(config: EngineConfig) -> None:
    """Check what types cannot. Raises ConfigError listing every fault at once."""
    thresholds, said = dataclasses.asdict(config.thresholds), config.expressions
    shares = {
        f"thresholds.{name}": value
        for name, value in thresholds.items()
        if name not in (*_COUNTS, *_SIGNED, "side")
    }
    shares["expressions.negatives"] = said.negatives
    shares["expressions.colour_share"] = said.colour_share
    checks = [
        *((0 <= v <= 1, f"{n}={v} must lie in [0, 1]") for n, v in shares.items()),
        *(
            (-1 <= thresholds[n] <= 1, f"thresholds.{n}={thresholds[n]}: in [-1, 1]")
            for n in _SIGNED
        ),
        *(
            (thresholds[n] >= 0, f"thresholds.{n}={thresholds[n]} must not be negative")
            for n in (*_COUNTS, "side")
        ),
        (config.shard > 0, f"shard={config.shard} must be positive"),
        (bool(config.models.segmenter), "models.segmenter must name a model"),
        (config.models.batch > 0, f"models.batch={config.models.batch}, at least 1"),
        (said.object_side >= 0, "expressions.object_side must not be negative"),
        (said.crop >= 0, "expressions.crop must not be negative"),
        _one_of("preset", config.preset, PRESETS),
        _one_of("models.dtype", config.models.dtype, DTYPES),
    ]
    faults = [message for right, message in checks if not right]
    if faults:
        raise ConfigError("The configuration cannot work:\n  " + "\n  ".join(faults))


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> tuple[bool, str]:
    return value in choices, f"{name}={value!r} must be one of {choices}"
