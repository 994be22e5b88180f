"""Groups, rates and decay of every parameter of a real model."""

from typing import Any

import jax
import numpy as np
import optax
import pytest
from helpers.tiny import change, tiny_config
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from unires_jax.errors import ConfigError
from unires_jax.models.unires import Apply
from unires_jax.parameters import flatten
from unires_jax.training import optim

CONFIG = tiny_config(
    clip="somewhere", model__vision__depth=3, model__stem_to_patches=True
)
PARAMS = Apply(CONFIG.model).abstract


def axes(_: Any) -> MuonDimensionNumbers:
    """Rows and columns of a plain matrix."""
    return MuonDimensionNumbers()


def test_a_parameter_in_no_group_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no optimizer group.*extra\.kernel"):
        optim.rates({"extra": {"kernel": 1}}, CONFIG)


def test_a_parameter_in_two_groups_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim, "NEW", (*optim.NEW, r"head\.pixels\..*"))
    with pytest.raises(ConfigError, match=r"share the parameter head\.pixels\.kernel"):
        optim.rates({"head": {"pixels": {"kernel": 1}}}, CONFIG)


def test_rates_of_a_pretrained_start() -> None:
    rates, o = flatten(optim.rates(PARAMS, CONFIG)), CONFIG.optim
    assert (
        rates["head.pixels.mix.kernel"]
        == rates["stem_project.kernel"]
        == rates["low.tokens"]
        == o.rate
    )
    assert rates["text.embedding"] == o.text_rate
    assert rates["vision.ln_post.scale"] == o.vision_rate
    blocks = [rates[f"vision.blocks.{i}.mlp.up.kernel"] for i in range(3)]
    expected = [o.vision_rate * 0.8**n for n in (3, 2, 1)]
    np.testing.assert_allclose(blocks, expected)
    assert rates["vision.positions"] == pytest.approx(o.vision_rate * 0.8**4)


def test_one_rate_from_scratch() -> None:
    scratch = optim.rates(PARAMS, change(CONFIG, clip=""))
    rates = set(flatten(scratch).values())
    assert rates == {CONFIG.optim.scratch_rate}


def test_decay_spares_norms_biases_tokens_positions() -> None:
    decays = flatten(optim.decays(PARAMS, CONFIG.model))
    decayed = {n for n, yes in decays.items() if yes}
    assert decayed and all(n.endswith(".kernel") for n in decayed)
    assert {n for n in decays if n.endswith(".kernel")} == decayed


def test_schedule_counts_updates() -> None:
    rate = optim.schedule(change(CONFIG, optim__warmup=10, train__steps=110))
    assert rate(0) == 0 and rate(10) == 1
    assert rate(5) == pytest.approx(0.5) and rate(60) == pytest.approx(0.5)
    assert rate(110) == pytest.approx(0, abs=1e-6)


def test_an_update_is_adamw_at_each_rate() -> None:
    config = change(CONFIG, optim__warmup=0, optim__clip=1e9)
    params = {
        "head": {"mix": {"kernel": np.full(3, 2.0, np.float32)}},
        "text": {"embedding": np.full(3, 2.0, np.float32)},
    }
    optimizer = optim.make_optimizer(config, params)
    grads = jax.tree.map(lambda x: np.full_like(x, 0.3), params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    # The first Adam step is the gradient's sign.
    o = config.optim
    expected = -o.rate * (1 + o.weight_decay * 2)
    np.testing.assert_allclose(updates["head"]["mix"]["kernel"], expected, rtol=1e-4)
    np.testing.assert_allclose(updates["text"]["embedding"], -o.text_rate, rtol=1e-4)


def test_muon_takes_the_matrices() -> None:
    labels = flatten(optim.muon_labels(PARAMS))
    assert labels["vision.blocks.0.mlp.up.kernel"] == "muon"
    for name in ("head.pixels.mix.kernel", "stem.conv1.kernel", "text.embedding"):
        assert labels[name] == "adam", name
    others = {n for n, label in labels.items() if label == "adam"}
    assert {n for n in labels if not n.endswith(".kernel")} <= others


def test_the_stems_network_has_a_rate_of_its_own() -> None:
    """And AdamW; without weights it is new like all else."""
    own = change(CONFIG, clip="", stem="x", model__stem="efficientnet_lite0")
    params = {"stem": {"tower": {"blocks": {"3": {"project": {"kernel": np.eye(4)}}}}}}
    name = "stem.tower.blocks.3.project.kernel"
    assert optim.rate_of(name, own) == own.optim.stem_rate
    assert optim.rate_of("stem.projects.0.kernel", own) == own.optim.scratch_rate
    assert optim.rate_of(name, change(own, stem="")) == own.optim.scratch_rate
    assert optim.rate_of(name, change(own, stem="", clip="x")) == own.optim.rate
    assert optim.rate_of(name, change(own, init_from="x")) == own.optim.stem_rate
    assert flatten(optim.muon_labels(params)) == {name: "adam"}


def test_stacked_matrices_are_orthogonalized_as_one_by_one() -> None:
    """Within 1e-5 of entries around .1: products of a stack may sum in other order."""
    rng = np.random.default_rng(0)
    shapes = [(16, 48), (48, 16), (16, 16), (16, 48), (8, 5)]
    gradients = {
        str(i): jax.numpy.asarray(rng.normal(size=shape), jax.numpy.float32)
        for i, shape in enumerate(shapes)
    }
    config = change(CONFIG, optim__method="muon").optim
    params = {k: {"kernel": x} for k, x in gradients.items()}
    stacked = optim._direction(config, params)
    alone = optax.chain(
        scale_by_muon(weight_dimension_numbers=lambda tree: jax.tree.map(axes, tree)),
        optax.stateless(optim._to_adam_size),
    )
    states = stacked.init(params), alone.init(params)
    for step in range(3):  # with momentum
        grads = jax.tree.map(lambda x, s=step: x * (s + 1) - 0.1 * s, params)
        updates, one_by_one = (
            optimizer.update(grads, state, params)
            for optimizer, state in zip((stacked, alone), states, strict=True)
        )
        states = updates[1], one_by_one[1]
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5),
            updates[0],
            one_by_one[0],
        )


def test_fewer_muon_steps_are_asked_for() -> None:
    x = {"x": jax.numpy.asarray(np.random.default_rng(0).normal(size=(6, 9)))}
    spread = [
        np.ptp(np.linalg.svd(optim.orthogonalize(x, steps=n)["x"], compute_uv=False))
        for n in (1, 3)
    ]
    assert spread[1] < spread[0]


def test_a_muon_update_is_orthogonal_and_of_adams_size() -> None:
    adamless = {"optim__method": "muon", "optim__weight_decay": 0.0}
    config = change(CONFIG, optim__warmup=0, optim__clip=1e9, **adamless)
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(16, 48)).astype(np.float32)
    params = {"head": {"expand": {"kernel": kernel, "bias": kernel[0]}}}
    optimizer = optim.make_optimizer(config, params)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    update, o = updates["head"]["expand"], config.optim
    # Five Newton-Schulz steps leave singular values between 0.7 and 1.2.
    sizes = np.linalg.svd(update["kernel"], compute_uv=False)
    sizes /= o.rate * optim.MUON_RMS * 48**0.5
    assert sizes.min() > 0.65 and sizes.max() < 1.25
    # Descent along the gradient's own singular vectors, not along its sign.
    u, _, v = np.linalg.svd(kernel, full_matrices=False)
    inner = u.T @ np.asarray(update["kernel"]) @ v.T
    assert (np.diag(inner) < 0).all()
    off = inner - np.diag(np.diag(inner))
    np.testing.assert_allclose(off, 0, atol=1e-3 * abs(inner).max())
    np.testing.assert_allclose(update["bias"], -o.rate * np.sign(kernel[0]), rtol=1e-4)
