"""UniRES pre-training as the paper describes it: CLIP towers, MRES-32M, both levels.

    python train.py --config=configs/unires.py --workdir=runs/unires \
        --config.clip=openai/clip-vit-base-patch16

Needs a TPU or GPU mesh, CLIP weights (a hub id or a local folder), MRES-style data
prepared under `data/mres32m`, and the evaluation splits of RefCOCO, RefCOCO+, RefCOCOg,
gRefCOCO and RefCOCOm, whose images are dropped from it by COCO id. Sizes and rates are
ours: the paper gives none. It has not been run on MRES-32M, which was never released:
no result, no run time is claimed.
"""

from unires_jax.config import (
    Config,
    DataConfig,
    EvalConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    TextConfig,
    TrainConfig,
    VisionConfig,
    text_l,
    vision_l14,
)
from unires_jax.data.leakage import EVALUATION

TOKENIZER = "openai/clip-vit-base-patch16"  # the same for every CLIP size
# Image tower, text tower, pixels, layer decay.
SIZES: dict[str, tuple[VisionConfig, TextConfig, int, float]] = {
    "b32": (VisionConfig(patch=32), TextConfig(), 480, 0.8),
    "b16": (VisionConfig(patch=16), TextConfig(), 480, 0.8),
    "l14": (vision_l14(), text_l(), 448, 0.85),
}


def get_config(size: str = "b16") -> Config:
    """The config for a CLIP size: b32, b16 (default) or l14."""
    vision, text, pixels, decay = SIZES[size]
    return Config(
        name=f"unires_{size}",
        model=ModelConfig(
            image_size=pixels,
            vision=vision,
            text=text,
            dtype="bfloat16",
            remat=True,
        ),
        data=DataConfig(
            train=("mres32m:train",),
            tokenizer=TOKENIZER,
            exclude=EVALUATION,
            expressions=8,
            part_share=0.5,  # half of the drawn expressions are about parts
            workers=8,
        ),
        optim=OptimConfig(layer_decay=decay, warmup=2000, ema=0.9998),
        train=TrainConfig(
            steps=100_000,
            batch=256,
            eval_every=5000,
            picture_every=5000,
            checkpoint_every=1000,
        ),
        eval=EvalConfig(splits=("mres32m:val",), watch_images=512, batch=16),
        mesh=MeshConfig(fsdp=-1),
    )
