"""UniRES fine-tuned: on one benchmark's train split, or on all of them together.

    python train.py --config=configs/finetune.py:refcoco --workdir=runs/refcoco \
        --config.clip=openai/clip-vit-base-patch16 --config.init_from=runs/unires
    python train.py --config=configs/finetune.py:mixed --workdir=runs/mixed ...

The argument is refcoco, refcocoplus, refcocog or mixed. One benchmark is trained on its
official train split. `mixed` takes all train splits, gRefCOCO's included, and drops by
COCO id every image that an evaluation split holds; that needs all of them prepared
(`unires build refcoco --config refcoco_unc --raw ...` and so on). The paper's setting
is `init_from` a pre-trained run; without it training starts from CLIP. Sizes and rates
are ours: the paper gives none. It has not been run on the real data: no result, no run
time is claimed.
"""

from unires_jax.config import (
    Config,
    DataConfig,
    EvalConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)
from unires_jax.data.leakage import EVALUATION

# Train splits and evaluation splits of each argument.
SETTINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "refcoco": (
        ("refcoco/refcoco_unc:train",),
        tuple(f"refcoco/refcoco_unc:{s}" for s in ("val", "testA", "testB")),
    ),
    "refcocoplus": (
        ("refcoco/refcocoplus_unc:train",),
        tuple(f"refcoco/refcocoplus_unc:{s}" for s in ("val", "testA", "testB")),
    ),
    "refcocog": (
        ("refcoco/refcocog_umd:train",),
        ("refcoco/refcocog_umd:val", "refcoco/refcocog_umd:test"),
    ),
    "mixed": (
        (
            "refcoco/refcoco_unc:train",
            "refcoco/refcocoplus_unc:train",
            "refcoco/refcocog_umd:train",
            "grefcoco:train",
        ),
        EVALUATION,
    ),
}
TOKENIZER = "openai/clip-vit-base-patch16"


def get_config(data: str = "refcoco") -> Config:
    """The config for a benchmark, or for the mixture: see SETTINGS."""
    train, evaluated = SETTINGS[data]
    return Config(
        name=f"finetune_{data}",
        model=ModelConfig(dtype="bfloat16", remat=True),
        data=DataConfig(
            train=train,
            tokenizer=TOKENIZER,
            exclude=EVALUATION if data == "mixed" else (),
            expressions=8,
            workers=8,
        ),
        optim=OptimConfig(warmup=500, ema=0.999),
        train=TrainConfig(
            steps=60_000 if data == "mixed" else 20_000,
            batch=64,
            eval_every=2000,
            picture_every=2000,
            checkpoint_every=1000,
        ),
        eval=EvalConfig(splits=evaluated, watch_images=512, batch=16),
        mesh=MeshConfig(fsdp=-1),
    )
