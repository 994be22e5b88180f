"""Every setting of the engine, as typed dataclasses. Source: ours unless said.

A config file builds an `EngineConfig` (`configs/engine.py`); flags override single
fields (`--config.thresholds.stability=0.95`).
"""

import dataclasses


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
