"""The steps of a config, lowered for devices: what training and evaluation compile."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from unires_jax import mesh as mesh_lib
from unires_jax.config import Config
from unires_jax.inference.steps import Compiled
from unires_jax.models import forms
from unires_jax.models.unires import Apply
from unires_jax.training import flops
from unires_jax.training.recipe import abstract_batch, make_recipe


class Step(NamedTuple):
    """A step that can be lowered, and what it is worth."""

    name: str
    devices: int  # that share its work
    flops: float  # of the model, by hand, on all devices
    parameters: dict[str, Any]  # a tree of shapes and shardings
    rounds: int  # of its one loop, whose body the compiler's costs count once
    lower: Callable[[], Any]


def train_step(config: Config, devices: list[Any], length: int, platform: str) -> Step:
    """The update of `train.batch` pictures. Errors as of `recipe.make_recipe`."""
    mesh = mesh_lib.make_mesh(config.mesh, devices)
    recipe = make_recipe(config, mesh)

    def lower() -> Any:
        with tracing(platform), jax.set_mesh(mesh):
            return recipe.step.lower(recipe.state, abstract_batch(config, mesh, length))

    return Step(
        "train",
        mesh.size,
        flops.train_step_flops(config, length),
        recipe.state.params,
        config.train.accumulation,
        lower,
    )


def evaluation_steps(
    config: Config, devices: list[Any], length: int, platform: str
) -> list[Step]:
    """What `evaluate.py` and in-training evaluation run, on one device.

    `eval.batch` pictures encoded, `eval.expressions` sentences encoded and decoded.
    """
    compiled, model = Compiled(config, devices[:1]), config.model
    apply, size = Apply(model), config.model.image_size
    b, e = config.eval.batch, config.eval.expressions
    images = jax.ShapeDtypeStruct((b, size, size, 3), jnp.uint8)
    extent = jax.ShapeDtypeStruct((b, 2), jnp.int32)
    tokens = jax.ShapeDtypeStruct((e, length), jnp.int32)
    of_row = jax.ShapeDtypeStruct((e,), jnp.int32)  # a length or an index of each
    features = jax.eval_shape(apply.encode_image, apply.abstract, images, extent)
    words = jax.eval_shape(apply.encode_text, apply.abstract, tokens, of_row)
    whole = mesh_lib.replicated(compiled.mesh)

    def step(name: str, jitted: Any, work: int, *inputs: Any) -> Step:
        params, placed = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole),
            (apply.abstract, inputs),
        )

        def lower() -> Any:
            with tracing(platform), jax.set_mesh(compiled.mesh):
                return jitted.lower(params, *placed)

        return Step(name, 1, float(work), params, 1, lower)

    # The hand count has the projection of the words with decoding.
    return [
        step(
            "encode_image",
            compiled.encode_image,
            b * flops.image_flops(model),
            images,
            extent,
        ),
        step(
            "encode_text",
            compiled.encode_text,
            e * flops.text_flops(model, length),
            tokens,
            of_row,
        ),
        step(
            "decode",
            compiled.decode,
            e * flops.decode_flops(model, length),
            features,
            words,
            of_row,
            of_row,
        ),
    ]


@contextlib.contextmanager
def tracing(platform: str) -> Iterator[None]:
    """What is traced inside has the forms of this platform, not of this machine."""
    with forms.use(forms.for_platform(platform)):
        yield
