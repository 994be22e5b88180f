"""UniRES pre-training as the paper describes it: CLIP towers, MRES-32M, both levels.

    python train.py --config=configs/unires.py --workdir=runs/unires \
        --config.clip=openai/clip-vit-base-patch16
    python train.py --config=configs/unires.py:siglip2_b16 --workdir=runs/siglip2 \
        --config.clip=google/siglip2-base-patch16-512

The argument is the pretrained towers: b32, b16 (the default) or l14 of CLIP, or
siglip2_b16. Needs a TPU or GPU mesh, their weights (a hub id or a local folder),
MRES-style data prepared under `data/mres32m`, and the evaluation splits of RefCOCO,
RefCOCO+, RefCOCOg, gRefCOCO and RefCOCOm, whose images are dropped from it by COCO id.
Sizes and rates are ours: the paper gives none. It has not been run on MRES-32M, which
was never released: no result, no run time is claimed.

The batch is made for a large slice; on fewer devices it is cut into rounds, the result
the same: `--config.train.accumulation=32` for 8 GPUs, 8 pictures each a round. What a
chip holds, `unires aot --config configs/unires.py:l14 --topology v5e:16x16` says.
Parameters are shared by 16 devices, or by all where there are fewer.
"""

from typing import NamedTuple

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
)
from unires_jax.data.leakage import EVALUATION


class Size(NamedTuple):
    """Towers as published, and what goes with them."""

    vision: VisionConfig
    text: TextConfig
    pixels: int
    layer_decay: float = 0.8
    backbone: str = "clip"
    tokenizer: str = "openai/clip-vit-base-patch16"  # the same for every CLIP
    lengths: tuple[int, ...] = (16, 32, 77)
    pixel_layers: tuple[int, ...] = (4, 8)  # a third and two thirds of the depth


SIZES = {
    "b32": Size(VisionConfig(patch=32), TextConfig(), 480),
    "b16": Size(VisionConfig(patch=16), TextConfig(), 480),
    "l14": Size(
        VisionConfig(patch=14, width=1024, depth=24, heads=16, mlp=4096),
        TextConfig(width=768, heads=12, mlp=3072),
        448,
        layer_decay=0.85,
        pixel_layers=(8, 16),
    ),
    "siglip2_b16": Size(
        VisionConfig(patch=16, activation="gelu_pytorch_tanh"),
        TextConfig(
            vocab=256000,
            context=64,
            width=768,
            heads=12,
            mlp=3072,
            activation="gelu_pytorch_tanh",
        ),
        512,
        backbone="siglip2",
        tokenizer="google/siglip2-base-patch16-512",
        lengths=(16, 32, 64),
    ),
}


def get_config(size: str = "b16") -> Config:
    """The config for b32, b16 (default), l14 (CLIP) or siglip2_b16."""
    towers = SIZES[size]
    return Config(
        name=f"unires_{size}",
        model=ModelConfig(
            backbone=towers.backbone,
            image_size=towers.pixels,
            vision=towers.vision,
            text=towers.text,
            pixel_layers=towers.pixel_layers,
            dtype="bfloat16",
            remat="attention",  # blocks recomputed, but for what attention gives
        ),
        data=DataConfig(
            train=("mres32m:train",),
            tokenizer=towers.tokenizer,
            lengths=towers.lengths,
            exclude=EVALUATION,
            expressions=8,
            part_share=0.5,  # half of the drawn expressions are about parts
        ),
        optim=OptimConfig(layer_decay=towers.layer_decay, warmup=500, ema=0.998),
        train=TrainConfig(
            steps=12_500,
            batch=2048,  # eight pictures a chip on 256
            eval_every=625,
            picture_every=625,
            checkpoint_every=125,
        ),
        eval=EvalConfig(splits=("mres32m:val",), watch_images=512, batch=16),
        mesh=MeshConfig(fsdp=16),
    )
