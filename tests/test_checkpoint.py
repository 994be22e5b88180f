"""Checkpoints: what is kept, what comes back, and what is said when it cannot."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from helpers.tiny_run import assert_same

from unires_jax.checkpoint import (
    Checkpoints,
    describe,
    find_checkpoint,
    load_params,
    read_arrays,
    read_meta,
    save_arrays,
    saved_config,
)
from unires_jax.config import Config, ModelConfig, TrainConfig, from_dict
from unires_jax.errors import CheckpointError
from unires_jax.parameters import check_shapes
from unires_jax.training.train_step import TrainState

CONFIG = Config(name="run", model=ModelConfig(width=64))
ABOUT = describe(CONFIG, '{"é": "</w>"}', {"a:train": "0123"})
TRAIN = TrainConfig(checkpoint_every=2, keep=2)
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())


def make_state(step: int, width: int = 3, ema: bool = True) -> TrainState:
    """Every array differs from every other and from those of other steps."""
    rng = np.random.default_rng(step)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    def params() -> dict[str, Any]:
        blocks = {0: {"kernel": draw(2, width)}, 1: {"kernel": draw(2, width)}}
        return {"vision": {"blocks": blocks, "cls": draw(5)}, "head": {"bias": draw(1)}}

    start = params()
    moments = jax.tree.map(lambda x: draw(*x.shape), OPTIMIZER.init(start)[1].mu)
    opt_state = (optax.EmptyState(), OPTIMIZER.init(start)[1]._replace(mu=moments))
    return TrainState(jnp.int32(step), start, params() if ema else {}, opt_state)


def write(
    workdir: Path,
    scores: dict[int, float | None],
    train: TrainConfig = TRAIN,
    **state: Any,
) -> None:
    with Checkpoints(workdir, train) as checkpoints:
        for step, score in scores.items():
            meta = ABOUT | {"batch": step}
            checkpoints.save(step, make_state(step, **state), meta, score)


def steps_of(workdir: Path) -> list[int]:
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())


def test_state_and_meta_come_back_exactly(tmp_path: Path) -> None:
    write(tmp_path, {7: 0.5})
    with Checkpoints(tmp_path, TRAIN) as checkpoints:
        state = checkpoints.restore(jax.eval_shape(lambda: make_state(1)))
        assert checkpoints.latest is not None
        meta = read_meta(checkpoints.latest)
    assert jax.tree.structure(state) == jax.tree.structure(make_state(7))
    assert_same(state, make_state(7))
    assert meta == json.loads(json.dumps(ABOUT | {"batch": 7}))
    assert from_dict(meta["config"]) == CONFIG
    assert meta["versions"]["jax"] == jax.__version__


def test_restored_with_the_sharding_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {2: None}, width=16)
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.NamedSharding(mesh, jax.P(None, "x"))
    whole = jax.NamedSharding(mesh, jax.P())
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=split if x.shape == (2, 16) else whole
        ),
        make_state(0, width=16),
    )
    with Checkpoints(tmp_path, TRAIN) as checkpoints:
        state = checkpoints.restore(like)
    assert state.params["vision"]["blocks"][0]["kernel"].sharding == split
    assert state.params["vision"]["cls"].sharding == whole
    assert_same(state, make_state(2, width=16))


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    write(tmp_path, {2: 0.3, 4: 0.6, 6: None, 8: 0.5, 10: None, 12: float("nan")})
    assert steps_of(tmp_path) == [4, 10, 12]
    assert find_checkpoint(tmp_path, "best").name == "4"
    assert find_checkpoint(tmp_path, "last").name == "12"


@pytest.mark.parametrize("miou", [10**400, "0.9", True, None, float("inf")])
def test_a_score_that_is_no_number_is_not_the_best(tmp_path: Path, miou: Any) -> None:
    write(tmp_path, {2: 0.3, 4: 0.6})
    file = tmp_path / "checkpoints" / "4" / "metrics" / "metrics"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({name: miou for name in content}))
    assert find_checkpoint(tmp_path, "best").name == "2"


def test_every_nth_is_kept_too(tmp_path: Path) -> None:
    every = TrainConfig(checkpoint_every=2, keep=1, keep_every=4)
    write(tmp_path, {2: 0.9, 4: 0.1, 6: None, 8: 0.3}, every)
    assert steps_of(tmp_path) == [2, 4, 8]
    write(tmp_path, {10: 0.2, 12: 0.1, 14: None}, every)
    assert steps_of(tmp_path) == [2, 4, 8, 12, 14]
    write(tmp_path, {16: None})  # what no longer asks for them lets them go
    assert steps_of(tmp_path) == [2, 14, 16]


def test_the_best_of_two_starts_is_kept(tmp_path: Path) -> None:
    write(tmp_path, {2: 0.6})
    write(tmp_path, {4: 0.5, 6: 0.4, 8: 0.3})
    assert steps_of(tmp_path) == [2, 6, 8]


def test_due_every_nth_step(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, TRAIN) as checkpoints:
        assert [s for s in range(1, 7) if checkpoints.due(s)] == [2, 4, 6]
        assert not checkpoints.preempted(1)


def test_a_donated_state_does_not_reach_the_files(tmp_path: Path) -> None:
    """The save writes behind while the next steps overwrite the buffers in place."""
    step = jax.jit(lambda s: jax.tree.map(lambda x: x * 1.5 + 1, s), donate_argnums=0)
    state = step({"a": jnp.arange(2_000_000.0), "b": jnp.ones((100, 100))})
    expected = jax.tree.map(lambda x: np.array(x, copy=True), state)
    with Checkpoints(tmp_path, TRAIN) as checkpoints:
        checkpoints.save(1, state, ABOUT, None)
        for _ in range(5):
            state = step(state)
        jax.block_until_ready(state)
    with Checkpoints(tmp_path, TRAIN) as checkpoints:
        assert_same(checkpoints.restore(jax.eval_shape(lambda: state)), expected)


def test_what_a_killed_save_left_is_no_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, {2: None, 4: None})
    folder = tmp_path / "checkpoints"
    (folder / "4").rename(folder / "6.orbax-checkpoint-tmp")
    assert find_checkpoint(tmp_path).name == "2"
    with Checkpoints(tmp_path, TRAIN) as checkpoints:
        assert checkpoints.latest == folder / "2"
        checkpoints.save(6, make_state(6), ABOUT, None)
    assert steps_of(tmp_path) == [2, 6]


def test_a_killed_deletion_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, {2: 0.1, 4: 0.5, 6: 0.3})
    half = tmp_path / "checkpoints" / "2"
    (half / "state").mkdir(parents=True)
    write(tmp_path, {8: 0.2, 10: 0.1})
    assert steps_of(tmp_path) == [4, 8, 10]


@pytest.mark.parametrize("which", ["ema", "params"])
def test_weights_alone(tmp_path: Path, which: Any) -> None:
    write(tmp_path, {2: 0.5, 4: 0.1})
    for path, pick, step in [
        (tmp_path, "best", 2),
        (tmp_path, "last", 4),
        (tmp_path / "checkpoints", "last", 4),
        (tmp_path / "checkpoints" / "4", "best", 4),
    ]:
        tree, meta = load_params(path, which, pick)  # type: ignore[arg-type]
        assert jax.tree.all(jax.tree.map(lambda x: type(x) is np.ndarray, tree))
        expected = getattr(make_state(step), which)
        assert jax.tree.structure(tree) == jax.tree.structure(expected)
        assert_same(tree, expected)
        assert meta["batch"] == step and meta["tokenizer"] == ABOUT["tokenizer"]


def test_without_an_average_the_parameters_are_given(tmp_path: Path) -> None:
    write(tmp_path, {2: None}, ema=False)
    assert_same(load_params(tmp_path, "ema")[0], make_state(2).params)


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no such folder; expected a w"):
        load_params(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_params(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_params(tmp_path)
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(CheckpointError, match=r"model.safetensors: no such folder"):
        load_params(file)


def test_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    plain = ocp.StandardCheckpointer()
    plain.save(tmp_path / "a" / "5" / "state", {"w": jnp.ones(3)})
    plain.wait_until_finished()
    with pytest.raises(CheckpointError, match="not a checkpoint of unires_jax"):
        load_params(tmp_path / "a")
    with Checkpoints(tmp_path / "b", TRAIN) as checkpoints:
        checkpoints.save(1, {"w": jnp.ones(3)}, {"format": "else/3"}, None)
    with pytest.raises(CheckpointError, match=r"format 'else/3', this version reads"):
        load_params(tmp_path / "b")


def test_damaged_arrays_are_told(tmp_path: Path) -> None:
    write(tmp_path, {2: None})
    (tmp_path / "checkpoints" / "2" / "state" / "_METADATA").unlink()
    with pytest.raises(CheckpointError, match=r"2: its arrays cannot be read"):
        load_params(tmp_path)


def test_another_architecture_lists_its_shapes(tmp_path: Path) -> None:
    write(tmp_path, {2: None})
    with (
        Checkpoints(tmp_path, TRAIN) as checkpoints,
        pytest.raises(CheckpointError) as caught,
    ):
        checkpoints.restore(jax.eval_shape(lambda: make_state(1, width=9)))
    message = str(caught.value)
    assert "another architecture" in message and str(tmp_path) in message
    for block in (0, 1):
        line = f"params.vision.blocks.{block}.kernel: expected (2, 9), found (2, 3)"
        assert line in message
    assert "head.bias" not in message and "opt_state" not in message
    like = make_state(1).params
    like["new"] = jnp.ones(2)
    del like["head"]
    with pytest.raises(CheckpointError) as caught:
        load_params(tmp_path, "params", like=like)
    assert "new: expected (2,), found nothing" in str(caught.value)
    assert "head.bias: expected nothing, found (1,)" in str(caught.value)


def test_a_long_list_of_differences_is_cut() -> None:
    tree = {f"p{i:03}": np.ones(i + 1) for i in range(50)}
    like = {f"p{i:03}": np.ones(i + 2) for i in range(50)}
    with pytest.raises(CheckpointError, match="and 30 more") as caught:
        check_shapes(tree, like, "here")
    assert str(caught.value).count("expected") == 20


def test_a_config_of_another_version_is_told(tmp_path: Path) -> None:
    meta = json.loads(json.dumps(ABOUT))
    meta["config"]["model"]["knob"] = 1
    del meta["config"]["seed"]
    with pytest.raises(CheckpointError, match=r"here: Config: .*'seed'.*another ver"):
        saved_config(meta, "here")
    meta["config"]["seed"] = 0
    with pytest.raises(CheckpointError, match=r"ModelConfig: .*'knob'"):
        saved_config(meta, "here")
    assert saved_config(json.loads(json.dumps(ABOUT)), "here") == CONFIG


@pytest.mark.parametrize(
    "name", ["lr[1e-4]", "betas=[0.9,0.98]", "a*b", "what?", "no\udcff"]
)
def test_a_folder_whose_name_is_a_pattern(name: str, tmp_path: Path) -> None:
    """Others work as they are: `tests/test_odd_names.py`."""
    (tmp_path / "aXb" / "run").mkdir(parents=True)  # what a pattern would find too
    workdir = tmp_path / name / "run"
    write(workdir, {2: 0.1, 4: 0.2})
    params, meta = load_params(workdir)
    assert_same(params, make_state(4).ema)
    assert meta["batch"] == 4
    with Checkpoints(workdir, TRAIN) as checkpoints:
        assert_same(checkpoints.restore(make_state(0)), make_state(4))
    save_arrays(workdir / "arrays", {"a.b": np.arange(3.0)})
    read = read_arrays(workdir / "arrays", {"a.b": np.zeros(3)})
    assert read["a.b"].tolist() == [0, 1, 2]
    assert not list((tmp_path / "aXb" / "run").iterdir())
