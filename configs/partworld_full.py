"""PartWorld in full: more scenes, more steps and a finer grid than the quickstart.

unires build partworld --data_dir data/full --scenes 30000
python train.py --config=configs/partworld_full.py --workdir=runs/partworld_full
"""

from unires_jax.config import (
    Config,
    DataConfig,
    EvalConfig,
    ModelConfig,
    OptimConfig,
    TextConfig,
    TrainConfig,
    VisionConfig,
)


def get_config() -> Config:
    """The config."""
    splits = tuple(f"partworld:{s}" for s in ("val", "testA", "testB", "val_novel"))
    return Config(
        name="partworld_full",
        model=ModelConfig(
            image_size=128,
            vision=VisionConfig(patch=16, width=256, depth=6, heads=8, mlp=1024),
            text=TextConfig(
                vocab=1024, context=32, width=128, depth=3, heads=4, mlp=512
            ),
            width=160,
            heads=5,
            low_groups=24,
            high_groups=8,
            group_bias=0.0,  # nothing pretrained to protect
        ),
        data=DataConfig(dir="data/full", lengths=(16, 24, 32)),
        optim=OptimConfig(scratch_rate=8e-4, warmup=200, ema=0.998),
        train=TrainConfig(
            steps=6000,
            batch=16,
            eval_every=1000,
            picture_every=2000,
            checkpoint_every=500,
        ),
        eval=EvalConfig(splits=splits, batch=16, expressions=128),
    )
