"""PartWorld from scratch on a laptop: data to report in 15 to 25 minutes on 2 cores.

python train.py --config=configs/quickstart.py --workdir=runs/quickstart

Native mIoU object / part: val 77.9 / 73.3, testA 77.1 / 71.5, testB 78.1 / 74.4; N-acc
/ T-acc: 88.6 / 99.2, 86.0 / 99.4, 88.6 / 99.7. Another run of the same seed, from clone
to table in 23 minutes on 2 slow cores (97 GFLOP/s each in a matrix product): 77.5 /
73.3, 77.0 / 71.2, 78.4 / 74.3; N-acc 87.7, 81.7, 87.7. It has one
stage, which learns more in the same time; `:full` has the paper's two, and 1,900 steps
of it, which cost as much, took 14 minutes on 2 cores of 240 GFLOP/s. The first form
(`:upsample`, three text, six image and four decoder layers, rate 3e-3, 700 steps) took
longer and reached 57.4 / 45.7 on val.
"""

from unires_jax.config import (
    Config,
    DataConfig,
    EvalConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    TextConfig,
    TrainConfig,
    VisionConfig,
)

BEST = "one_stage"  # at this size, for the same minutes: docs/model.md


def get_config(ablation: str = BEST) -> Config:
    """The config, or another of ABLATIONS."""
    model = ModelConfig(
        image_size=128,
        vision=VisionConfig(patch=16, width=192, depth=4, heads=6, mlp=384),
        text=TextConfig(vocab=1024, context=32, width=128, depth=1, heads=4, mlp=512),
        width=128,
        heads=4,
        low_groups=24,
        high_groups=8,
        group_bias=0.0,  # nothing pretrained to protect
        stage_layers=1,
        mask_stride=2,
        stem_to_patches=True,
    )
    for field, value in ABLATIONS[ablation].items():
        setattr(model, field, value)
    splits = tuple(f"partworld:{s}" for s in ("val", "testA", "testB"))
    return Config(
        name="quickstart" if ablation == BEST else f"quickstart_{ablation}",
        model=model,
        data=DataConfig(lengths=(16, 24, 32)),
        loss=LossConfig(no_target=0.3, no_target_weight=3.0, positive_cap=3.0),
        optim=OptimConfig(method="muon", scratch_rate=5e-3, warmup=100, ema=0.995),
        train=TrainConfig(
            steps=2200,
            batch=16,
            eval_every=1100,
            picture_every=1100,
            checkpoint_every=250,
        ),
        eval=EvalConfig(splits=splits, batch=16, expressions=128),
    )


# What each changes of the paper's form; the rest stays, depth and token count included.
ABLATIONS: dict[str, dict[str, object]] = {
    "full": {},
    "no_groups": {"groups": "none"},
    "low_only": {"groups": "low"},
    "high_only": {"groups": "high"},
    "no_filters": {"filters": "ffn"},
    "one_stage": {"stages": 1},
    "no_eos": {"share_eos": False},
    "no_gate": {"gate": False},
    "no_stem": {"stem_channels": 0},
    "no_stem_in_patches": {"stem_to_patches": False},
    "upsample": {"mask_head": "upsample", "mask_stride": 4},  # at 2 it is slow
    "figure_only": {"figure_only": True, "mask_stride": 4},
}
