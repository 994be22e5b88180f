"""The loop on a tiny real model and data set, in this process on one device."""

import copy
import dataclasses
import hashlib
import itertools
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from helpers import small_data
from helpers.efficientnet import NARROW, random_tensors
from helpers.tiny import tiny_config
from helpers.tiny_run import (
    STEPS,
    assert_same,
    events,
    lines,
    run_config,
    untimed,
    write_data,
)
from safetensors.numpy import save_file

from unires_jax import mesh as mesh_lib
from unires_jax.checkpoint import load_params, read_meta
from unires_jax.config import Config, MeshConfig, validate
from unires_jax.data.pipeline import run_tokenizer, train_batches
from unires_jax.errors import CheckpointError, ConfigError, TrainingError
from unires_jax.export.command import export
from unires_jax.models.backbones.positions import resize_positions
from unires_jax.models.efficientnet import SHAPES
from unires_jax.models.unires import Apply
from unires_jax.parameters import flatten
from unires_jax.training import start as start_lib
from unires_jax.training.progress_log import (
    BEST_BY,
    ProgressLog,
    check_finite,
    pictures_due,
)
from unires_jax.training.recipe import Recipe, make_recipe
from unires_jax.training.trainer import evaluation_due, fit

LOOP = ("log_every", "eval_every", "picture_every", "checkpoint_every", "keep")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


_RECIPES: dict[str, Recipe] = {}


def recipe_of(config: Config) -> Recipe:
    """The recipe on one device; recipes that differ in the loop alone compile once.

    A save costs several times as much on eight devices (those are in test_checkpoint).
    """
    values = dataclasses.asdict(config)
    for name in LOOP:
        del values["train"][name]
    elsewhere = {"name", "data", "eval", "init_from"}
    key = repr([v for k, v in values.items() if k not in elsewhere])
    if key not in _RECIPES:
        mesh = mesh_lib.make_mesh(MeshConfig(), jax.devices()[:1])
        _RECIPES[key] = make_recipe(copy.deepcopy(config), mesh)
    return dataclasses.replace(_RECIPES[key], config=config)


class Hook:
    """An evaluation that notes what it was given."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.params = list(scores), {}

    def __call__(
        self, step: int, params: Any
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        self.params[step] = jax.device_get(params)
        picture = np.full((4, 6, 3), (200, 100, 0), np.uint8)
        score = self.scores.pop(0) if self.scores else 0.1
        return {BEST_BY: score, "part/mIoU": math.nan}, {"watch/0": picture}


def run(
    config: Config,
    workdir: Path,
    hook: Hook | None = None,
    recipe: Recipe | None = None,
) -> Any:
    recipe = recipe or recipe_of(config)
    return jax.device_get(fit(recipe, workdir, run_tokenizer(config), hook or Hook()))


class Whole(NamedTuple):
    """A run from its first step to its last."""

    workdir: Path
    state: Any
    hook: Hook


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    workdir, hook = tmp_path_factory.mktemp("unbroken") / "new" / "run", Hook(0.7, 0.2)
    return Whole(
        workdir, run(run_config(data, train__picture_every=8), workdir, hook), hook
    )


def test_the_loop_does_what_the_bare_step_does(data: Path, unbroken: Whole) -> None:
    state, hook = unbroken.state, unbroken.hook
    config = run_config(data)
    recipe = recipe_of(config)
    expected = recipe.init()
    batches = train_batches(config, run_tokenizer(config))
    losses = {}
    for i in range(1, STEPS + 1):
        batch = mesh_lib.feed(next(batches), recipe.mesh)
        expected, metrics = recipe.train_step(expected, batch)
        losses[i] = float(metrics["loss"])
        if i == 4:
            assert_same(hook.params[4], expected.ema)  # the average is evaluated
    assert int(state.step) == STEPS
    assert_same(state, expected)
    written = {
        x["step"]: x["train/loss"] for x in lines(unbroken.workdir) if "train/loss" in x
    }
    assert written == {i: losses[i] for i in (1, 2, 4, 6, 8)}


def test_metrics_file(unbroken: Whole) -> None:
    written = lines(unbroken.workdir)
    kinds = [
        (x["step"], "eval" if f"eval/{BEST_BY}" in x else "train") for x in written
    ]
    train = [(i, "train") for i in (1, 2, 4, 6, 8)]
    assert kinds == [*train[:3], (4, "eval"), *train[3:], (8, "eval")]
    evaluated = [x for x in written if f"eval/{BEST_BY}" in x]
    assert [x[f"eval/{BEST_BY}"] for x in evaluated] == [0.7, 0.2]
    assert evaluated[0]["eval/part/mIoU"] is None  # not a number is not JSON
    for line in (x for x in written if "train/loss" in x):
        assert line["train/images_per_second"] > 0
        product = line["train/images_per_second"] * line["train/step_seconds"]
        assert product == pytest.approx(8)  # the batch
        assert 0 < line["train/data_wait"] < 1
        assert "train/mfu" not in line  # nobody publishes a CPU's peak
    assert "train/grad_norm/vision" in written[0]


def test_utilisation_and_waiting_are_shares(tmp_path: Path) -> None:
    config = Config()
    config.train.log_every = 1
    numbers = {"loss": jax.numpy.float32(1), "grad_norm": jax.numpy.float32(1)}
    with ProgressLog(tmp_path, config, 0, ideal_seconds=0.01) as log:
        late = (time.sleep(0.02) for _ in range(2))
        for step, _ in enumerate(log.waiting_for(late), 1):
            log.add(step, numbers)
        log.look()
    first, second = lines(tmp_path)
    for line in (first, second):
        assert line["train/mfu"] == pytest.approx(0.01 / line["train/step_seconds"])
    # The first step is looked at when the second has its batch.
    assert 0.04 / first["train/step_seconds"] <= first["train/data_wait"] < 1
    assert second["train/data_wait"] == 0


def test_tensorboard_holds_curves_and_pictures(unbroken: Whole) -> None:
    import cv2

    points, pictures = {}, {}
    for event in events(unbroken.workdir):
        for value in event.summary.value:
            if value.HasField("image"):
                pictures[value.tag, event.step] = value.image.encoded_image_string
            else:
                points[value.tag, event.step] = value.simple_value
    for line in lines(unbroken.workdir):
        if "train/loss" in line:
            expected = np.float32(line["train/loss"])
            assert points["train/loss", line["step"]] == expected
    assert points[f"eval/{BEST_BY}", 4] == np.float32(0.7)
    assert list(pictures) == [("watch/0", 8)]  # picture_every=8
    encoded = np.frombuffer(pictures["watch/0", 8], np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert picture.shape == (4, 6, 3) and tuple(picture[0, 0]) == (0, 100, 200)


def test_workdir(data: Path, unbroken: Whole) -> None:
    workdir, state, _ = unbroken
    written = json.loads((workdir / "config.json").read_text())
    assert written["train"]["picture_every"] == 8
    folders = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())
    assert folders == [4, 6, 8]  # the best, and the two last
    best, meta = load_params(workdir)
    assert_same(best, unbroken.hook.params[4])
    assert meta["batch"] == 4 and not meta["no_target_trained"]
    assert list(meta["data"]) == [f"{data}:train"]
    assert_same(load_params(workdir, "params", "last")[0], state.params)


def test_whether_no_target_was_trained_is_remembered(tmp_path: Path) -> None:
    scenes = [small_data.scene(i, pairs=2) for i in range(8)]
    nothing = [
        dataclasses.replace(x, targets=(), no_target=True)
        for x in scenes[0].expressions
    ]
    mixed = [dataclasses.replace(scenes[0], expressions=tuple(nothing)), *scenes[1:]]
    data = small_data.write(tmp_path / "data", train=mixed)
    config = run_config(data, train__eval_every=0)
    config.eval.splits = ()
    compiled = recipe_of(config)  # once: here only the loop reads what changes below
    for steps in (1, 2):  # resumed, it still knows
        config.train.steps = steps
        recipe = dataclasses.replace(compiled, config=config)
        run(config, tmp_path / "run", recipe=recipe)
        assert load_params(tmp_path / "run", "params", "last")[1]["no_target_trained"]
    config.loss.no_target = 0
    run(config, tmp_path / "without", recipe=recipe)
    assert not load_params(tmp_path / "without")[1]["no_target_trained"]


def test_pictures_due() -> None:
    config = Config()
    config.train.steps = 100

    def due(pictures: int, evaluations: int) -> list[int]:
        config.train.picture_every, config.train.eval_every = pictures, evaluations
        steps = range(1, config.train.steps + 1)
        evaluated = [s for s in steps if evaluation_due(config, s)]
        return [s for s in evaluated if pictures_due(config, s)]

    assert due(40, 20) == [40, 80, 100]
    assert due(30, 20) == [40, 60, 100]
    assert due(10, 50) == [50, 100]
    assert due(0, 20) == []
    assert due(40, 0) == [100]


class Crash(RuntimeError):
    pass


def before_step(recipe: Recipe, count: int, act: Callable[[], None]) -> Recipe:
    """The recipe that acts before its `count`-th step, counted from 0."""
    counter = itertools.count()

    def step(state: Any, batch: Any) -> Any:
        if next(counter) == count:
            act()
        return recipe.step(state, batch)

    step.lower = recipe.step.lower  # type: ignore[attr-defined]
    return dataclasses.replace(recipe, step=step)


def crash() -> None:
    raise Crash


# Before any save, right after one, after an evaluation, before the last step.
QUICK = (0, 3, 5, 7)


@pytest.mark.parametrize(
    "step",
    [s if s in QUICK else pytest.param(s, marks=pytest.mark.slow) for s in range(8)],
)
def test_resume_from_any_step(
    data: Path, unbroken: Whole, tmp_path: Path, step: int
) -> None:
    config = run_config(data, train__picture_every=8)
    with pytest.raises(Crash):
        breaking = before_step(recipe_of(config), step, crash)
        run(config, tmp_path, Hook(0.7, 0.2), breaking)
    with (tmp_path / "metrics.jsonl").open("a") as torn:
        torn.write('{"step": 1, "train/lo')
    reached = 4 if step >= 4 else 3 if step == 3 else 0
    hook = Hook(0.7, 0.2) if reached < 4 else Hook(0.2)
    assert_same(run(config, tmp_path, hook), unbroken.state)
    assert sorted(hook.params) == [4, 8] if reached < 4 else [8]
    assert untimed(lines(tmp_path)) == untimed(lines(unbroken.workdir))
    purges = [e.step for e in events(tmp_path) if e.session_log.status == 1]
    last = {0: 0, 1: 0, 2: 0, 3: 3, 4: 4, 5: 4, 6: 6, 7: 6}[step]
    assert purges[-1] == last + 1


def test_resume_with_muon(data: Path, tmp_path: Path) -> None:
    config = run_config(data)
    config.optim.method = "muon"
    whole = run(config, tmp_path / "unbroken")
    with pytest.raises(Crash):
        breaking = before_step(recipe_of(config), 5, crash)
        run(config, tmp_path / "broken", recipe=breaking)
    assert_same(run(config, tmp_path / "broken"), whole)
    config.optim.method = "adamw"
    with pytest.raises(ConfigError, match=r"optim\.method: the run has 'muon'"):
        run(config, tmp_path / "broken")


def test_a_sigterm_saves_and_returns(
    data: Path, unbroken: Whole, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run_config(data, train__picture_every=8)
    handler = signal.getsignal(signal.SIGTERM)
    asked_to_stop = before_step(
        recipe_of(config), 4, lambda: os.kill(os.getpid(), signal.SIGTERM)
    )
    state = run(config, tmp_path, Hook(0.7), asked_to_stop)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert int(state.step) == 5
    assert "stopped at step 5 of 8; saved" in capsys.readouterr().out
    assert_same(load_params(tmp_path, "params", "last")[0], state.params)
    assert_same(run(config, tmp_path, Hook(0.2)), unbroken.state)
    assert untimed(lines(tmp_path)) == untimed(lines(unbroken.workdir))


def test_a_finished_run_says_so(
    data: Path, unbroken: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = Hook()
    before = lines(unbroken.workdir)
    again = run(run_config(data, train__picture_every=8), unbroken.workdir, hook)
    assert "is finished: step 8 of 8" in capsys.readouterr().out
    assert_same(again, unbroken.state)
    assert not hook.params and lines(unbroken.workdir) == before


def test_another_config_is_refused_by_field(data: Path, unbroken: Whole) -> None:
    config = run_config(
        data,
        seed=4,
        model__width=32,
        optim__rate=1.0,
        train__batch=16,
        data__flip=0.25,
        loss__dice=2.0,
    )
    with pytest.raises(ConfigError) as caught:
        run(config, unbroken.workdir)
    message = str(caught.value)
    for line in (
        "seed: the run has 3, now 4",
        "model.width: the run has 16, now 32",
        "optim.rate: the run has 0.0001, now 1.0",
        "train.batch: the run has 8, now 16",
        "data.flip: the run has 0.5, now 0.25",
        "loss.dice: the run has 1.0, now 2.0",
        str(unbroken.workdir),
        "--workdir",
    ):
        assert line in message
    assert message.count("the run has") == 6


def test_what_may_change_may(data: Path, unbroken: Whole) -> None:
    config = run_config(
        data,
        name="renamed",
        data__workers=3,
        train__log_every=7,
        train__keep=5,
        eval__batch=1,
        mesh__fsdp=2,
        model__remat="dots",
        train__steps=4,
    )
    assert_same(run(config, unbroken.workdir).params, unbroken.state.params)


def test_other_data_is_refused(data: Path, unbroken: Whole, tmp_path: Path) -> None:
    config = run_config(data)
    meta = read_meta(unbroken.workdir / "checkpoints" / "8")
    about = {"data": {f"{data}:train": "0"}, "tokenizer": meta["tokenizer"]}
    with pytest.raises(ConfigError, match=r"data: the run has .*, now .*'0'"):
        start_lib.check_same_run(config, about, meta, tmp_path)
    about = {"data": meta["data"], "tokenizer": "{}"}
    with pytest.raises(ConfigError, match=r"data\.tokenizer: its content"):
        start_lib.check_same_run(config, about, meta, tmp_path)


def test_not_a_number_stops_at_its_step(data: Path, tmp_path: Path) -> None:
    """The step is the first bad one of the bare loop; later and it are not saved."""
    config = run_config(data, train__checkpoint_every=2, train__keep=99)
    recipe = recipe_of(config)

    def breaking(state: Any, batch: Any) -> Any:
        """Break one number of the word projection at the start of step 5."""
        if int(state.step) == 4:
            kernel = state.params["word_project"]["kernel"]
            params = copy.copy(state.params)
            params["word_project"] = {
                **params["word_project"],
                "kernel": jax.device_put(kernel.at[0, 0].set(np.nan), kernel.sharding),
            }
            state = state._replace(params=params)
        return recipe.step(state, batch)

    breaking.lower = recipe.step.lower  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match=r"^step 5: loss nan") as caught:
        run(config, tmp_path, Hook(), dataclasses.replace(recipe, step=breaking))
    assert "word_project" in str(caught.value)
    steps = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    assert steps == [2, 4]
    saved = load_params(tmp_path, "params", "last")[0]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(saved))


def test_the_broken_group_is_named() -> None:
    good = {"loss": 1.0, "grad_norm": 2.0, "grad_norm/text": 1.0, "grad_norm/low": 1.0}
    check_finite(3, jax.tree.map(jax.numpy.float32, good))
    bad = good | {"grad_norm": math.inf, "grad_norm/low": math.inf}
    with pytest.raises(TrainingError) as caught:
        check_finite(3, jax.tree.map(jax.numpy.float32, bad))
    assert str(caught.value).startswith("step 3: loss 1.0, gradient norm inf; not fin")
    assert "groups low." in str(caught.value)


def test_init_from_takes_the_best_average_and_a_fresh_optimizer(
    data: Path, unbroken: Whole, tmp_path: Path
) -> None:
    config = run_config(data, init_from=str(unbroken.workdir), optim__rate=0.0)
    recipe = recipe_of(config)
    params = start_lib.take_over(recipe)
    assert_same(params, unbroken.hook.params[4])
    state = recipe.init(params)
    assert_same(state.params, unbroken.hook.params[4])
    assert_same(state.ema, unbroken.hook.params[4])
    assert int(state.step) == 0
    moments = jax.tree.leaves(state.opt_state)
    assert not any(np.any(x) for x in jax.device_get(moments))


@pytest.mark.parametrize("kind", ["safetensors", "orbax"])
def test_init_from_takes_an_export(
    kind: str, data: Path, unbroken: Whole, tmp_path: Path
) -> None:
    folder = export(unbroken.workdir, kind, tmp_path / "exported")
    config = run_config(data, init_from=str(folder))
    assert_same(start_lib.take_over(recipe_of(config)), unbroken.hook.params[4])


def test_init_from_is_where_a_new_run_starts(
    data: Path, unbroken: Whole, tmp_path: Path
) -> None:
    config = run_config(data, init_from=str(unbroken.workdir))
    states = []

    def note(state: Any, batch: Any) -> Any:
        states.append(jax.device_get(state))
        raise Crash

    with pytest.raises(Crash):
        recipe = recipe_of(config)
        note.lower = recipe.step.lower  # type: ignore[attr-defined]
        recipe = dataclasses.replace(recipe, step=note)
        run(config, tmp_path, recipe=recipe)
    assert_same(states[0].params, unbroken.hook.params[4])
    assert int(states[0].step) == 0


@pytest.mark.parametrize("field", ["image_size", "train_size"])
def test_init_from_at_another_size_and_context(
    data: Path, unbroken: Whole, field: str
) -> None:
    source = unbroken.hook.params[4]
    for size, context in [(32, 12), (24, 20)]:
        config = run_config(
            data,
            init_from=str(unbroken.workdir),
            **{f"model__{field}": size},
            model__text__context=context,
        )
        params = start_lib.take_over(recipe_of(config))
        vision, text = (params[k].pop("positions") for k in ("vision", "text"))
        np.testing.assert_array_equal(
            vision, resize_positions(source["vision"]["positions"], size // 8, 1)
        )
        assert len(vision) == (size // 8) ** 2 + 1 and len(text) == context
        shared = min(context, 16)
        before = source["text"]["positions"]
        np.testing.assert_array_equal(text[:shared], before[:shared])
        assert np.abs(text[shared:]).sum(1).all()  # fresh rows are drawn, not zero
        others = copy.deepcopy(source)
        others["vision"].pop("positions"), others["text"].pop("positions")
        assert_same(params, others)


def test_init_from_other_arithmetic_is_refused(data: Path, unbroken: Whole) -> None:
    """No shape shows the number of heads or the activation."""
    changes = {"model__text__heads": 1, "model__vision__activation": "gelu"}
    config = run_config(data, init_from=str(unbroken.workdir), **changes)
    with pytest.raises(ConfigError) as caught:
        start_lib.take_over(recipe_of(config))
    assert "model.text.heads=1, the weights were trained with 2" in str(caught.value)
    assert "model.vision.activation='gelu'" in str(caught.value)
    assert "model.mask_head" not in str(caught.value)
    another = {"model__figure_only": False, "model__mask_stride": 2}
    config = run_config(data, init_from=str(unbroken.workdir), **another)
    with pytest.raises(ConfigError, match=r"mask_stride=2, the weights .* with 4"):
        start_lib.take_over(recipe_of(config))


def test_init_from_another_model_lists_shapes(data: Path, unbroken: Whole) -> None:
    config = run_config(data, init_from=str(unbroken.workdir), model__width=32)
    with pytest.raises(CheckpointError) as caught:
        start_lib.take_over(recipe_of(config))
    line = "patch_project.kernel: expected (16, 32), found (16, 16)"
    assert line in str(caught.value) and str(unbroken.workdir) in str(caught.value)


Published = tuple[Path, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A CLIP of the tiny config's towers as transformers saves it, and its weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    tower = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tower |= {"intermediate_size": 16, "hidden_act": "quick_gelu"}
    text = {"vocab_size": 600, "max_position_embeddings": 77}
    image = {"image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    model = transformers.CLIPModel(
        transformers.CLIPConfig(vision_config=tower | image, text_config=tower | text)
    )
    model.save_pretrained(folder)
    return folder, {k: v.numpy() for k, v in model.state_dict().items()}


def test_clip_fills_the_towers_alone(data: Path, clip: Published) -> None:
    folder, weights = clip
    config = run_config(data, clip=str(folder))
    params, _ = start_lib.published(recipe_of(config))
    fresh = jax.jit(Apply(config.model).init)(jax.random.key(config.seed))
    np.testing.assert_array_equal(
        params["text"]["embedding"],
        weights["text_model.embeddings.token_embedding.weight"],
    )
    np.testing.assert_array_equal(
        params["vision"]["blocks"][0]["mlp"]["up"]["kernel"],
        weights["vision_model.encoder.layers.0.mlp.fc1.weight"].T,
    )
    towers = {"vision", "text"}
    assert_same(
        {k: v for k, v in params.items() if k not in towers},
        {k: v for k, v in jax.device_get(fresh).items() if k not in towers},
    )


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_a_clip_of_other_heads_is_refused(
    name: str, data: Path, clip: Published
) -> None:
    """Heads do not show in shapes: the config.json beside the weights has them."""
    config = run_config(
        data,
        clip=str(clip[0] / name),
        model__vision__heads=4,
        model__vision__activation="gelu",
    )
    with pytest.raises(ConfigError) as caught:
        start_lib.published(recipe_of(config))
    assert "model.vision.heads=4, CLIP has 2" in str(caught.value)
    assert "model.vision.activation='gelu', CLIP has 'quick_gelu'" in str(caught.value)
    assert "text" not in str(caught.value)


def test_a_stems_network_starts_from_its_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoints say which file, also after going on without it."""
    monkeypatch.setitem(SHAPES, "efficientnet_lite0", NARROW)
    weights, file = random_tensors(NARROW), tmp_path / "own.safetensors"
    save_file(weights, file)
    config = run_config(
        data,
        stem=str(file),
        model__stem="efficientnet_lite0",
        model__figure_only=False,
        model__stem_to_patches=True,
        model__image_size=32,
        optim__stem_rate=0.0,
        optim__weight_decay=0.0,
        optim__ema=0.0,
        train__eval_every=0,
        train__steps=1,
    )
    config.eval.splits = ()
    recipe = recipe_of(config)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for steps in (1, 2):
        config.train.steps = steps
        run(config, tmp_path / "run", recipe=dataclasses.replace(recipe, config=config))
        params, meta = load_params(tmp_path / "run", "params", "last")
        assert meta["stem_sha256"] == digest
        file.unlink(missing_ok=True)
    variance = weights["_blocks.1._bn2.running_var"]
    rate = weights["_blocks.1._bn2.weight"] / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(
        params["stem"]["tower"]["blocks"][1]["project"]["kernel"],
        weights["_blocks.1._project_conv.weight"][:, :, 0, 0].T * rate,
        rtol=1e-5,
    )
    with pytest.raises(ConfigError, match=r"has weights for a network.*'plain'"):
        validate(run_config(data, stem=str(file)))


def test_weights_without_a_config_are_told(
    data: Path, clip: Published, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = shutil.copy(clip[0] / "model.safetensors", tmp_path)
    start_lib.published(recipe_of(run_config(data, clip=str(file))))
    assert "has no config.json beside it" in caplog.text
    assert "model.vision (2 heads, quick_gelu)" in caplog.text


def test_no_parameter_is_weakly_typed() -> None:
    """One that is compiles the whole step a second time: updates are never weak."""
    model = tiny_config().model
    params = jax.eval_shape(Apply(model).init, jax.random.key(0))
    assert [name for name, x in flatten(params).items() if x.weak_type] == []


def test_steps_on_smaller_pictures_than_the_model_answers_at(
    data: Path, unbroken: Whole, tmp_path: Path
) -> None:
    """They are those of a model of that side, to the last bit."""
    config = run_config(data, model__image_size=32, model__train_size=16)
    state = run(config, tmp_path)
    assert_same(state.params, unbroken.state.params)
    assert len(state.params["vision"]["positions"]) == 2**2 + 1
