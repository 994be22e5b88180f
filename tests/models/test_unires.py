"""UniRES on tiny sizes: what must not matter, and what each switch removes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.tiny import random_params, tiny_config

from unires_jax.config import ModelConfig
from unires_jax.models.backbones.positions import resize_positions
from unires_jax.models.fusion import grid_positions
from unires_jax.models.heads import products
from unires_jax.models.pixel_features import depth_to_space, resize, space_to_depth
from unires_jax.models.unires import Apply, ImageFeatures

TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}
LENGTHS = jnp.array([4, 6, 3])


def tiny(**changes: Any) -> ModelConfig:
    """With groups that are heard from the start, and all that can be switched on."""
    values = {
        "group_bias": 0.0,
        "pixel_layers": (1,),
        "stem_to_patches": True,
    } | changes
    return tiny_config(**{f"model__{name}": x for name, x in values.items()}).model


def perturbed(apply: Apply) -> dict[str, Any]:
    """Parameters far from their start."""
    return random_params(apply.config, 0.3)


class Inputs:
    """Two pictures and three sentences, of which two speak of the second picture."""

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    extent = np.array([[32, 24], [20, 32]], np.int32)
    tokens = rng.integers(1, 40, (3, 6), dtype=np.int32)
    index = np.array([1, 0, 1], np.int32)


Model = tuple[Apply, dict[str, Any]]


@pytest.fixture(scope="module")
def full() -> Model:
    apply = Apply(tiny())
    return apply, perturbed(apply)


def run(
    apply: Apply,
    params: dict[str, Any],
    tokens: np.ndarray = Inputs.tokens,
    lengths: Any = LENGTHS,
    index: np.ndarray | None = Inputs.index,
    images: np.ndarray = Inputs.images,
    extent: np.ndarray = Inputs.extent,
) -> tuple[np.ndarray, np.ndarray]:
    where = None if index is None else jnp.asarray(index)
    inputs = (images, extent, tokens, lengths)
    logits, no_target = _forward(apply, params, *map(jnp.asarray, inputs), where)
    return np.asarray(logits), np.asarray(no_target)


@functools.partial(jax.jit, static_argnums=0)
def _forward(
    apply: Apply,
    params: dict[str, Any],
    images: jax.Array,
    extent: jax.Array,
    tokens: jax.Array,
    lengths: jax.Array,
    index: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    features = apply.encode_image(params, images, extent)
    words = apply.encode_text(params, tokens, lengths)
    return apply.decode(params, features, words, lengths, index)


def test_shapes(full: Model) -> None:
    logits, no_target = run(*full)
    assert logits.shape == (3, 8, 8) and no_target.shape == (3,)
    assert len({*no_target.tolist()}) == 3  # the sentence decides


def test_pad_tokens_change_nothing(full: Model) -> None:
    longer = np.pad(Inputs.tokens, ((0, 0), (0, 4)), constant_values=7)
    longer[0, 4:] = 9  # behind the end of the first sentence
    for short, padded in zip(run(*full), run(*full, tokens=longer), strict=True):
        np.testing.assert_allclose(short, padded, **TOLERANCE)


def test_words_change_the_mask(full: Model) -> None:
    changed = Inputs.tokens.copy()
    changed[0, 1] += 1
    before, after = run(*full)[0], run(*full, tokens=changed)[0]
    assert np.abs(before[0] - after[0]).max() > 1e-3
    np.testing.assert_allclose(before[1:], after[1:], **TOLERANCE)


def test_order_and_company_change_nothing(full: Model) -> None:
    logits, no_target = run(*full)
    swap = [1, 0]
    again = run(
        *full,
        tokens=Inputs.tokens[[2, 0]],
        lengths=LENGTHS[np.array([2, 0])],
        index=np.array([0, 0], np.int32),
        images=Inputs.images[swap],
        extent=Inputs.extent[swap],
    )
    np.testing.assert_allclose(again[0], logits[[2, 0]], **TOLERANCE)
    np.testing.assert_allclose(again[1], no_target[[2, 0]], **TOLERANCE)


@pytest.mark.parametrize(
    "changes", [{}, {"mask_stride": 2}, {"mask_head": "upsample"}], ids=str
)
def test_no_index_means_image_after_image(changes: dict[str, Any]) -> None:
    """A picture alone, whose features no expression copies, gives the same masks."""
    apply = Apply(tiny(**changes))
    params = perturbed(apply)
    rows = np.array([0, 1, 2, 0])
    kw = {"tokens": Inputs.tokens[rows], "lengths": LENGTHS[rows]}
    plain = run(apply, params, **kw, index=None)
    pointed = run(apply, params, **kw, index=np.array([0, 0, 1, 1], np.int32))
    second = {"images": Inputs.images[1:], "extent": Inputs.extent[1:]}
    alone = run(apply, params, **kw, index=np.zeros(4, np.int32), **second)
    for one, other, single in zip(plain, pointed, alone, strict=True):
        np.testing.assert_allclose(one, other, **TOLERANCE)
        np.testing.assert_allclose(single[2:], other[2:], **TOLERANCE)


def test_a_logit_is_its_patchs_embedding_times_its_cells_features() -> None:
    """Worked by hand for 2 x 2 patches of 2 x 2 cells, with 3 channels."""
    rng = np.random.default_rng(0)
    embedding, pixels = rng.normal(size=(2, 4, 3)), rng.normal(size=(1, 4, 4, 3))
    logits = products(jnp.asarray(embedding), jnp.asarray(pixels), None)
    assert logits.shape == (2, 4, 4)
    expected = embedding[1, 2] @ pixels[0, 2, 3]
    np.testing.assert_allclose(logits[1, 2, 3], expected, rtol=1e-5)
    grid = np.asarray(depth_to_space(logits, 2))[..., 0]
    np.testing.assert_allclose(grid[1, 3, 1], expected, rtol=1e-5)


def test_space_to_depth_is_the_way_back() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    back = depth_to_space(space_to_depth(jnp.asarray(x), 2).reshape(2, 9, -1), 2)
    np.testing.assert_array_equal(back, x)


def test_the_stem_reaches_the_patches_and_starts_without_a_word() -> None:
    """A pretrained tower begins with the patches it was published with."""
    apply = Apply(tiny())
    params = jax.device_get(apply.init(jax.random.key(0)))
    pictures = (jnp.asarray(Inputs.images), jnp.asarray(Inputs.extent))
    patches = jax.jit(lambda p: apply.encode_image(p, *pictures).patches)
    before = patches(params)
    params["stem"] = jax.tree.map(lambda x: 2 * x, params["stem"])
    np.testing.assert_array_equal(patches(params), before)
    kernel = params["stem_project"]["kernel"]
    drawn = np.random.default_rng(0).normal(0, 0.1, kernel.shape)
    params["stem_project"]["kernel"] = drawn.astype(np.float32)
    assert np.abs(patches(params) - before).max() > 1e-3


def test_a_new_model_is_language_blind_but_can_learn() -> None:
    """New branches end in zeros: the first masks ignore words, their gradient not."""
    apply = Apply(tiny())
    params = apply.init(jax.random.key(0))
    changed = (Inputs.tokens + 3) % 40
    np.testing.assert_array_equal(run(apply, params)[0], run(apply, params, changed)[0])
    out = gradient(apply, params)["stage1"]["layers"][0]["mix"]["out"]["kernel"]
    assert np.abs(out).max() > 0


@functools.partial(jax.jit, static_argnums=0)
def gradient(apply: Apply, params: dict[str, Any]) -> dict[str, Any]:
    arrays = (Inputs.images, Inputs.extent, Inputs.tokens, LENGTHS, Inputs.index)
    inputs = tuple(map(jnp.asarray, arrays))
    return jax.grad(lambda p: jnp.square(_forward(apply, p, *inputs)[0]).mean())(params)


def features_of(config: ModelConfig) -> tuple[ImageFeatures, dict[str, Any]]:
    apply = Apply(config)
    pictures = (jnp.asarray(Inputs.images), jnp.asarray(Inputs.extent))
    return jax.eval_shape(apply.encode_image, apply.abstract, *pictures), apply.abstract


def test_ablation_of_groups_keeps_their_number() -> None:
    low, params = features_of(tiny(groups="low"))
    assert low.low is not None and low.low.shape == (2, 5, 16) and low.high is None
    assert "high" not in params and "high_filter" not in params
    high, params = features_of(tiny(groups="high"))
    assert high.high is not None and high.high.shape == (2, 5, 16)
    assert high.low is None and "low" not in params


def test_without_groups_nothing_of_them_is_left() -> None:
    features, params = features_of(tiny(groups="none"))
    assert features.low is None and features.high is None
    gone = {"low", "high", "low_filter", "high_filter", "stage2"}
    assert not gone & set(params)
    assert len(params["stage1"]["layers"]) == 2  # double depth


def test_one_stage_keeps_the_depth_and_the_groups_without_filters() -> None:
    features, params = features_of(tiny(stages=1))
    assert not {"stage2", "low_filter", "high_filter"} & set(params)
    assert len(params["stage1"]["layers"]) == 2
    assert {"low", "high"} <= set(params)
    assert features.low is None and features.high is None


@pytest.mark.parametrize("filters", ["lrf", "ffn"])
def test_only_the_filter_reads_language(filters: str) -> None:
    apply = Apply(tiny(filters=filters))
    params = jax.tree.map(jnp.asarray, perturbed(apply))
    rng = np.random.default_rng(2)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    features = ImageFeatures(
        draw(3, 16, 16), draw(3, 3, 16), draw(3, 2, 16), None, draw(3, 16, 16)
    )
    filtered = jax.jit(
        lambda words: apply.bind(params).filter_groups(
            features, words, jnp.ones((3, 1, 6), bool)
        )[0]
    )
    first, second = filtered(draw(3, 6, 16)), filtered(draw(3, 6, 16))
    assert (np.abs(first - second).max() > 1e-3) == (filters == "lrf")


def test_the_ffn_in_a_filters_place_has_its_size() -> None:
    def size(filters: str) -> int:
        params = features_of(tiny(filters=filters))[1]
        kernels = jax.tree.leaves(params["low_filter"]["layer"]["mix"])
        return sum(x.size for x in kernels if x.ndim == 2)

    assert size("ffn") == size("lrf")


def test_figure_only_drops_what_is_ours() -> None:
    _, params = features_of(tiny(figure_only=True))
    gone = {"eos_project", "patch_gate", "stem", "stem_project", "mixers"}
    assert not gone & set(params)
    assert "bias" not in params["low"]
    assert set(params["head"]) == {"norm", "expand", "mix", "project"}


def test_eos_sharing_lets_a_word_know_what_follows(full: Model) -> None:
    changed = Inputs.tokens.copy()
    changed[0, 3] += 1  # the last of the first sentence
    for share in (True, False):
        apply, params = full
        if not share:
            apply = Apply(tiny(share_eos=False))
            params = {k: v for k, v in params.items() if k != "eos_project"}
        pair = (jnp.asarray(t) for t in (Inputs.tokens, changed))
        before, after = (jax.jit(apply.encode_text)(params, t, LENGTHS) for t in pair)
        assert (np.abs(before[0, 1] - after[0, 1]).max() > 1e-4) == share


def test_no_stem_means_no_pixels_at_the_grid(full: Model) -> None:
    features, params = features_of(tiny(stem_channels=0, mask_head="upsample"))
    assert features.detail is None and not {"stem", "stem_project"} & set(params)
    _, params = features_of(tiny(stem_channels=0))
    assert "stem" not in params["head"]["pixels"]


@pytest.mark.parametrize("grid", [3, 8, 12, 16, 31])
def test_the_stem_is_resized_as_jax_does(grid: int) -> None:
    x = jax.random.normal(jax.random.key(0), (2, 12, 12, 3))
    expected = jax.image.resize(x, (2, grid, grid, 3), "linear")
    np.testing.assert_allclose(resize(x, grid), expected, **TOLERANCE)


def test_bfloat16_computes_near_float32(full: Model) -> None:
    low = Apply(tiny(dtype="bfloat16"))
    logits = run(low, full[1])[0]
    assert logits.dtype == np.float32
    scale = np.abs(run(*full)[0]).max()
    np.testing.assert_allclose(logits, run(*full)[0], atol=0.1 * scale)


@pytest.fixture(scope="module")
def kept_gradient(full: Model) -> dict[str, Any]:
    return gradient(*full)


@pytest.mark.parametrize("remat", ["full", "attention", "dots"])
def test_remat_changes_no_gradient(
    full: Model, kept_gradient: dict[str, Any], remat: str
) -> None:
    recomputed = gradient(Apply(tiny(remat=remat)), full[1])
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5, rtol=1e-4),
        recomputed,
        kept_gradient,
    )


@pytest.mark.parametrize(("stride", "cells"), [(2, 7), (4, 4), (8, 2)])
def test_patch_14_has_a_whole_number_of_cells(stride: int, cells: int) -> None:
    apply = Apply(tiny(image_size=56, vision__patch=14, mask_stride=stride))
    images = jax.ShapeDtypeStruct((1, 56, 56, 3), jnp.uint8)
    extent = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    features = jax.eval_shape(apply.encode_image, apply.abstract, images, extent)
    grid = 4 * cells
    assert features.detail is not None and features.detail.shape == (1, grid, grid, 4)


def test_depth_to_space_puts_each_cell_in_its_patch() -> None:
    patches = np.arange(4 * 4, dtype=np.float32).reshape(1, 4, 4)  # ratio 2, 1 channel
    grid = np.asarray(depth_to_space(jnp.asarray(patches), 2))[0, :, :, 0]
    expected = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    np.testing.assert_array_equal(grid, expected)


def test_positions_mean_a_place_in_the_picture_not_on_the_canvas() -> None:
    extent = jnp.array([[32, 32], [16, 16]])
    positions = np.asarray(grid_positions(extent, 32, 8, 16)).reshape(2, 8, 8, 16)
    # Cell centres at 2 of 16 pixels and at (2, 6 -> mean 4) of 32 mean the same place.
    finer = np.asarray(grid_positions(jnp.array([[16, 16]]), 16, 4, 16))
    np.testing.assert_allclose(positions[1, :4, :4], finer.reshape(4, 4, 16), atol=1e-5)
    assert np.abs(positions[0, :4, :4] - positions[1, :4, :4]).max() > 0.1
    rows, columns = positions[0, ..., :8], positions[0, ..., 8:]
    np.testing.assert_array_equal(rows[:, 0], rows[:, 5])
    np.testing.assert_array_equal(columns[0], columns[5])


SMALL = tuple(
    np.ascontiguousarray(x)
    for x in (Inputs.images[:, :24, :24], np.minimum(Inputs.extent, 24))
)


@pytest.mark.parametrize(
    "changes",
    [{}, {"mask_head": "upsample"}, {"backbone": "siglip2"}, {"mask_stride": 2}],
    ids=str,
)
def test_a_model_answers_at_the_side_it_was_trained_at_and_at_its_own(
    changes: dict[str, Any],
) -> None:
    """Each as a model of that side does whose table is the interpolated one."""
    apply = Apply(tiny(train_size=24, **changes))
    params = perturbed(apply)
    prefix = 0 if changes.get("backbone") else 1
    assert len(params["vision"]["positions"]) == prefix + 3**2
    for side, (images, extent) in (
        (24, SMALL),
        (32, (Inputs.images, Inputs.extent)),
    ):
        alone = Apply(tiny(image_size=side, **changes))
        table = resize_positions(params["vision"]["positions"], side // 8, prefix)
        fitted = params | {"vision": params["vision"] | {"positions": table}}
        expected = run(alone, fitted, images=images, extent=extent)
        for got, own in zip(
            run(apply, params, images=images, extent=extent), expected, strict=True
        ):
            np.testing.assert_allclose(got, own, **TOLERANCE)
