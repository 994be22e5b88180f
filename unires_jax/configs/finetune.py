"""UniRES fine-tuned: on one benchmark's train split, or on all of them together.

    python train.py --config=configs/finetune.py:refcoco --workdir=runs/refcoco \
        --config.clip=openai/clip-vit-base-patch16 --config.init_from=runs/unires
    python train.py --config=configs/finetune.py:mixed --workdir=runs/mixed ...
    python train.py --config=configs/finetune.py:refcoco,siglip2_b16 ... \
        --config.clip=google/siglip2-base-patch16-512

The argument is refcoco (the default), refcocoplus, refcocog or mixed, and may name the
towers behind a comma: those of configs/unires.py, b16 if not said. One benchmark is
trained on its official train split. `mixed` takes all train splits, gRefCOCO's
included, and drops by COCO id every image that an evaluation split holds; that needs
all of them prepared (`unires build refcoco --config refcoco_unc --raw ...` and so on).
The paper's setting is `init_from` a pre-trained run; without it training starts from
the weights of `--config.clip`. Sizes and rates are ours: the paper gives none. It has
not been run on the real data: no result, no run time is claimed.
"""

import runpy
from pathlib import Path

from unires_jax.config import (
    Config,
    DataConfig,
    EvalConfig,
    MeshConfig,
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


def get_config(argument: str = "refcoco") -> Config:
    """The config for a benchmark or the mixture of SETTINGS, and towers if named."""
    data, _, size = argument.partition(",")
    if data not in SETTINGS and not size:
        data, size = "refcoco", data  # towers alone
    train, evaluated = SETTINGS[data]
    path = Path(__file__).with_name("unires.py")
    towers: Config = runpy.run_path(str(path))["get_config"](size or "b16")
    return Config(
        name="_".join(["finetune", data, *([size] if size else [])]),
        model=towers.model,
        data=DataConfig(
            train=train,
            tokenizer=towers.data.tokenizer,
            lengths=towers.data.lengths,
            exclude=EVALUATION if data == "mixed" else (),
            expressions=8,
        ),
        optim=OptimConfig(layer_decay=towers.optim.layer_decay, warmup=500, ema=0.999),
        train=TrainConfig(
            steps=60_000 if data == "mixed" else 20_000,
            batch=64,
            eval_every=2000,
            picture_every=2000,
            checkpoint_every=1000,
        ),
        eval=EvalConfig(splits=evaluated, watch_images=512, batch=16),
        mesh=MeshConfig(fsdp=16),
    )
