"""Settings: what is refused, and the way to a file and back."""

import json
from typing import Any

import pytest

from unires_jax import config as config_lib
from unires_jax.config import Config, ModelConfig, VisionConfig
from unires_jax.errors import ConfigError
from unires_jax.models import layers
from unires_jax.models.backbones import towers_of


def test_defaults_are_valid() -> None:
    config_lib.validate(Config())


def test_all_faults_are_told_at_once() -> None:
    config = Config()
    config.model.image_size = 250
    config.model.groups, config.model.train_size = "some", -8
    config.train.accumulation = 3
    config.data.flip, config.data.max_bad_share = 1.5, float("nan")
    config.model.text.depth, config.model.vision.depth = 1500, -1000
    with pytest.raises(ConfigError) as error:
        config_lib.validate(config)
    for field in ("image_size=250", "groups='some'", "accumulation=3", "flip=1.5"):
        assert field in str(error.value)
    for field in ("bad_share=nan", "-1000 blocks in a part", "train_size=-8"):
        assert field in str(error.value)


@pytest.mark.parametrize("lengths", [(), (32, 16), (16, 78), (0,), (-5, 3)])
def test_token_buckets_rise_to_the_context(lengths: tuple[int, ...]) -> None:
    config = Config()
    config.data.lengths = lengths
    with pytest.raises(ConfigError, match=r"data\.lengths"):
        config_lib.validate(config)


@pytest.mark.parametrize("layers", [(0,), (2, 1), (1, 1), (12,), (-1,)])
def test_pixel_layers_are_blocks_of_the_tower(layers: tuple[int, ...]) -> None:
    config = Config()
    config.model.pixel_layers, config.data.whole_every = layers, 0
    with pytest.raises(ConfigError, match=r"model\.pixel_layers") as error:
        config_lib.validate(config)
    assert "data.whole_every=0" in str(error.value)
    config.model.pixel_layers, config.data.whole_every = (1, 11), 8
    config_lib.validate(config)


@pytest.mark.parametrize(("every", "works"), [(0, 1), (500, 1), (750, 0), (-500, 0)])
def test_what_is_kept_must_be_saved(every: int, works: bool) -> None:
    config = Config()
    config.train.keep_every, config.train.eval_every = every, 400
    if works:
        return config_lib.validate(config)
    with pytest.raises(ConfigError, match=rf"train\.keep_every={every} must be a mul"):
        config_lib.validate(config)
    config.train.keep_every = 800  # evaluations are saved too
    return config_lib.validate(config)


def test_there_and_back_through_json() -> None:
    config = Config(name="x", data=config_lib.DataConfig(lengths=(8, 77)))
    values = json.loads(json.dumps(config_lib.to_dict(config)))
    assert config_lib.from_dict(values) == config


def test_a_config_of_another_version_is_refused() -> None:
    values = config_lib.to_dict(Config())
    values["model"]["depth_of_thought"] = 3
    del values["model"]["heads"]
    with pytest.raises(ConfigError, match=r"depth_of_thought.*heads"):
        config_lib.from_dict(values)


def test_a_config_of_before_a_setting_means_what_held_then() -> None:
    values = config_lib.to_dict(Config())
    del values["model"]["backbone"]
    del values["train"]["keep_every"]
    assert config_lib.from_dict(values) == Config()
    del values["model"]["mask_head"]
    assert config_lib.from_dict(values).model.mask_head == "upsample"
    del values["data"]["lengths"]
    with pytest.raises(ConfigError, match=r"missing fields \['lengths'\]"):
        config_lib.from_dict(values)


def test_a_setting_that_is_gone_may_stand_as_it_was_never_used() -> None:
    values = config_lib.to_dict(Config())
    values["model"]["no_target_mask"], values["loss"]["empty"] = False, 0.0
    assert config_lib.from_dict(values) == Config()
    values["loss"]["empty"] = 0.3
    with pytest.raises(ConfigError, match=r"unknown fields \['empty'\]"):
        config_lib.from_dict(values)


@pytest.mark.parametrize(("written", "name"), [(False, "none"), (True, "full")])
def test_a_config_of_before_says_remat_by_yes_and_no(written: bool, name: str) -> None:
    values = json.loads(json.dumps(config_lib.to_dict(Config())))
    values["model"]["remat"] = written
    del values["mesh"]["gather_in_blocks"]
    assert config_lib.from_dict(values).model.remat == name
    values["model"]["share_eos"] = "full"
    with pytest.raises(ConfigError, match=r"share_eos='full' must be of type bool"):
        config_lib.from_dict(values)


def test_a_backbone_of_no_row_is_refused() -> None:
    config = Config(model=ModelConfig(backbone="os"))
    with pytest.raises(ConfigError, match=r"model\.backbone='os' must be one of"):
        config_lib.validate(config)
    with pytest.raises(ConfigError, match=r"model\.backbone='os' must be one of"):
        towers_of(config.model)


@pytest.mark.parametrize(
    ("patch", "size", "stride", "grid"),
    [(16, 480, 4, 120), (16, 480, 2, 240), (32, 224, 4, 56), (14, 336, 4, 96)],
)
def test_mask_grid(patch: int, size: int, stride: int, grid: int) -> None:
    vision = VisionConfig(patch=patch)
    model = ModelConfig(image_size=size, vision=vision, mask_stride=stride)
    assert config_lib.mask_grid(model) == grid


def test_half_of_the_blocks_unless_told() -> None:
    assert config_lib.split_layer(ModelConfig()) == 6
    assert config_lib.split_layer(ModelConfig(split_layer=2)) == 2


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("image_size", 0),
        ("width", -192),
        ("vision.patch", -16),
        ("text.context", 0),
        ("low_groups", 0),
        ("stem_channels", -1),
        ("stem", "resnet"),
        ("vision.activation", "os.system"),
    ],
)
def test_sizes_and_names_that_build_no_model(setting: str, value: Any) -> None:
    config = config_lib.from_dict(config_lib.to_dict(Config()))
    group, _, name = setting.rpartition(".")
    setattr(getattr(config.model, group) if group else config.model, name, value)
    with pytest.raises(ConfigError, match=rf"model\.{setting}={value!r}"):
        config_lib.validate(config)


def test_activations_are_those_that_there_are() -> None:
    assert set(config_lib.ACTIVATIONS) == set(layers.ACTIVATIONS)
