"""The hand count of a step's work, against the programs that jax traces."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.abstract_batch import abstract_batch
from helpers.tiny import change, tiny_config
from jax.extend import core

from unires_jax.config import Config, ModelConfig, TextConfig, VisionConfig
from unires_jax.models.forms import PLAIN, use
from unires_jax.models.unires import Apply
from unires_jax.training import flops
from unires_jax.training.train_step import accumulate


def product_flops(jaxpr: core.Jaxpr) -> int:
    """FLOPs of all products and convolutions of a traced program."""
    total = 0
    for equation in jaxpr.eqns:
        name, outputs = equation.primitive.name, equation.outvars[0].aval
        shapes = [x.aval.shape for x in equation.invars]
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = np.prod([shapes[0][i] for i in contracted])
            total += 2 * int(depth) * outputs.size
        elif name == "conv_general_dilated":
            total += 2 * int(np.prod(shapes[1][:3])) * outputs.size
        total += sum(map(product_flops, core.jaxprs_in_params(equation.params)))
    return total


def answer(config: Config) -> Any:
    """The traced forward pass over the abstract batch of a config."""
    apply, batch = Apply(config.model), abstract_batch(config)

    def run(params: Any, batch: Any) -> Any:
        model = apply.bind(params)
        features = model.encode_image(batch.images, batch.extent)
        lengths = batch.lengths.reshape(-1)
        tokens = batch.tokens.reshape(len(lengths), -1)
        words = model.encode_text(tokens, lengths)
        return model.decode(features, words, lengths)

    with use(PLAIN):
        return jax.make_jaxpr(run)(apply.abstract, batch)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model__backbone": "siglip2", "data__expressions": 2},
        {"model__groups": "none"},
        {"model__groups": "low"},
        {"model__groups": "high", "model__filters": "ffn"},
        {"model__stages": 1},
        {"model__figure_only": True},
        {"model__mask_head": "upsample", "model__stem_to_patches": True},
        {
            **{"model__mask_stride": 2, "model__pixel_layers": (1,)},
            "model__stem_to_patches": True,
        },
        {"model__gate": False, "model__mixer_layers": 2},
        {"model__share_eos": False, "model__stem_channels": 0},
        {"model__image_size": 28, "model__vision__patch": 14, "model__heads": 4},
        {
            **{"model__image_size": 28, "model__vision__patch": 14},
            **{"model__mask_stride": 2, "model__stem_to_patches": True},
        },
        {"model__split_layer": 1, "model__vision__depth": 5, "model__stage_layers": 3},
        {
            **{"model__stem": "efficientnet_lite0", "model__image_size": 64},
            "model__stem_to_patches": True,
        },
    ],
    ids=str,
)
def test_the_hand_count_is_that_of_the_traced_program(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    counted = product_flops(answer(config).jaxpr)
    k, length = config.data.expressions, config.data.lengths[0]
    assert config.train.batch * flops.forward_flops(config.model, k, length) == counted


def test_a_step_is_what_the_compiler_counts() -> None:
    """Within 5 %: the compiler counts norms, activations and the loss as well."""
    config = tiny_config(data__lengths=(32,), train__batch=1)
    config.model = ModelConfig(
        image_size=96,
        vision=VisionConfig(patch=16, width=512, depth=2, heads=4, mlp=2048),
        text=TextConfig(vocab=64, context=32, width=512, depth=2, heads=4, mlp=2048),
        width=512,
        mixer_layers=1,
        low_groups=8,
    )
    apply, batch = Apply(config.model), abstract_batch(config)
    step = jax.jit(lambda params, batch: accumulate(apply, config, params, batch)[0])
    with use(PLAIN):
        compiled = step.lower(apply.abstract, batch).cost_analysis()
    assert flops.train_step_flops(config) == pytest.approx(compiled["flops"], rel=0.05)


def test_a_step_is_counted_at_the_side_of_its_pictures() -> None:
    small, larger = tiny_config(), tiny_config(model__image_size=64)
    larger.model.train_size = small.model.image_size
    assert flops.train_step_flops(larger) == flops.train_step_flops(small)
    k, length = small.data.expressions, small.data.lengths[0]
    answers = [flops.forward_flops(x.model, k, length) for x in (small, larger)]
    assert answers[1] > 2 * answers[0]


def test_a_frozen_text_tower_is_passed_once() -> None:
    config = tiny_config()
    trained = flops.train_step_flops(config)
    frozen = change(config, optim__text_rate=0.0, clip="somewhere")
    sentences = config.train.batch * config.data.expressions
    text = flops.text_flops(config.model, 8)
    assert trained - flops.train_step_flops(frozen) == 2 * sentences * text


def test_the_length_is_the_shortest_bucket_unless_said() -> None:
    config = tiny_config()
    assert flops.train_step_flops(config) == flops.train_step_flops(config, 8)
    assert flops.train_step_flops(config) < flops.train_step_flops(config, 16)
    assert jnp.isfinite(flops.train_step_flops(Config()))
