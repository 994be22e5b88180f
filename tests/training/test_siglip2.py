"""A run on SigLIP 2's towers: from published weights to masks of an export."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from helpers import small_data, tiny_run
from helpers.exporting import assert_equal_answers, run_elsewhere
from helpers.gemma_like import write_tokenizer
from helpers.pictures import noise
from PIL import Image

import unires_jax
from unires_jax.config import Config, MeshConfig, TextConfig, VisionConfig
from unires_jax.data.pipeline import run_tokenizer
from unires_jax.errors import CheckpointError
from unires_jax.export.command import export
from unires_jax.inference import exported, model
from unires_jax.mesh import make_mesh
from unires_jax.models.backbones.positions import resize_positions
from unires_jax.models.unires import Apply
from unires_jax.parameters import flatten
from unires_jax.training import optim
from unires_jax.training import start as start_lib
from unires_jax.training.recipe import Recipe, make_recipe
from unires_jax.training.trainer import fit

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOWER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
TOWER |= {"intermediate_size": 32}
SENTENCES = ["The red DOG on the left ", "head of the old animal" + " and a dog" * 20]


def recipe_of(config: Config) -> Recipe:
    return make_recipe(config, make_mesh(MeshConfig(), jax.devices()[:1]))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A SiglipModel as transformers saves it, and its tensors."""
    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(0)
    vision = TOWER | {"image_size": 32, "patch_size": 8}
    text = TOWER | {"vocab_size": 600, "max_position_embeddings": 24}
    published = transformers.SiglipModel(
        transformers.SiglipConfig(vision_config=vision, text_config=text)
    )
    published.save_pretrained(folder)
    return folder, {k: v.numpy() for k, v in published.state_dict().items()}


@pytest.fixture(scope="module")
def config(
    weights: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Config:
    data = tiny_run.write_data(tmp_path_factory.mktemp("data"))
    captions = [x.sent for i in range(4) for x in small_data.scene(i).expressions]
    tokenizer = write_tokenizer(tmp_path_factory.mktemp("tokenizer"), captions)
    activation, sizes = "gelu_pytorch_tanh", {"width": 16, "heads": 2, "mlp": 32}
    return tiny_run.run_config(
        data,
        clip=str(weights[0]),
        data__tokenizer=str(tokenizer),
        data__lengths=(16, 24),
        model__backbone="siglip2",
        model__image_size=32,
        model__vision=VisionConfig(patch=8, depth=2, activation=activation, **sizes),
        model__text=TextConfig(600, 24, depth=2, activation=activation, **sizes),
        model__groups="both",
        model__figure_only=False,
        train__steps=2,
        train__eval_every=0,
    )


@pytest.fixture(scope="module")
def workdir(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    fit(recipe_of(config), folder, run_tokenizer(config))
    return folder


def test_the_towers_start_from_the_weights(
    config: Config, weights: tuple[Path, dict[str, Any]]
) -> None:
    (params, _), tensors = start_lib.published(recipe_of(config)), weights[1]
    name = "vision_model.embeddings.patch_embedding"
    kernel = params["vision"]["patch_embed"]["kernel"].reshape(8, 8, 3, 16)
    np.testing.assert_array_equal(
        kernel.transpose(3, 2, 0, 1), tensors[f"{name}.weight"]
    )
    np.testing.assert_array_equal(
        params["text"]["blocks"][1]["mlp"]["down"]["kernel"],
        tensors["text_model.encoder.layers.1.mlp.fc2.weight"].T,
    )
    assert "cls" not in params["vision"] and "ln_pre" not in params["vision"]


def test_every_parameter_has_its_rate_and_its_decay(config: Config) -> None:
    abstract, o = Apply(config.model).abstract, config.optim
    rates = flatten(optim.rates(abstract, config))
    assert rates["text.blocks.1.ln1.scale"] == o.text_rate
    assert rates["head.pixels.mix.kernel"] == rates["low.tokens"] == o.rate
    assert rates["vision.ln_post.bias"] == o.vision_rate
    assert rates["vision.blocks.1.mlp.up.kernel"] == o.vision_rate * o.layer_decay
    for name in ("patch_embed.kernel", "patch_embed.bias", "positions"):
        assert rates[f"vision.{name}"] == pytest.approx(o.vision_rate * 0.8**3)
    decays = flatten(optim.decays(abstract, config.model))
    decayed = {name for name, yes in decays.items() if yes}
    assert decayed == {name for name in rates if name.endswith(".kernel")}


def test_training_moves_both_towers(config: Config, workdir: Path) -> None:
    (start, _), loaded = start_lib.published(recipe_of(config)), model.load(workdir)
    assert loaded.config == config and loaded.tokenizer.sos is None
    for tower in ("vision", "text"):
        moved = jax.tree.map(
            lambda a, b: float(np.abs(a - b).max()), start[tower], loaded.params[tower]
        )
        assert min(jax.tree.leaves(moved["blocks"][1]["mlp"])) > 0
    assert np.isfinite(tiny_run.lines(workdir)[-1]["train/loss"])


def test_exports_answer_as_the_live_model(workdir: Path, tmp_path: Path) -> None:
    """The graphs, and run.py where the package is not; masks are the Predictor's."""
    folder = export(workdir, "stablehlo", tmp_path / "stablehlo")
    loaded = model.load(workdir)
    assert_equal_answers(folder, loaded, (1, 1, 8), (3, 5, 24), (2, 9, 7))
    photo = Image.fromarray(noise(3, 25, 40))
    masks, *_ = run_elsewhere(folder, photo, SENTENCES, tmp_path)
    segments = unires_jax.load(workdir).segment(tmp_path / "photo.png", SENTENCES)
    for mask, segment in zip(masks, segments, strict=True):
        np.testing.assert_array_equal(mask, segment.mask)


def test_an_export_of_parameters_comes_back(workdir: Path, tmp_path: Path) -> None:
    loaded = model.load(workdir)
    back = exported.read(export(workdir, "safetensors", tmp_path / "safetensors"))
    jax.tree.map(np.testing.assert_array_equal, back.params, loaded.params)
    assert (
        back.config == loaded.config and back.tokenizer.rules == loaded.tokenizer.rules
    )
    assert "SigLIP 2 weights" in (tmp_path / "safetensors" / "README.md").read_text()


def test_another_resolution_starts_from_the_run(config: Config, workdir: Path) -> None:
    source = model.load(workdir).params
    larger = dataclasses.replace(config.model, image_size=48)
    again = dataclasses.replace(config, clip="", init_from=str(workdir), model=larger)
    params = start_lib.take_over(recipe_of(again))
    table = resize_positions(source["vision"]["positions"], 6, 0)
    assert table.shape == (36, 16)
    np.testing.assert_array_equal(params["vision"].pop("positions"), table)
    source["vision"].pop("positions")
    tiny_run.assert_same(params, source)


def test_a_run_on_another_backbone_is_refused(config: Config, workdir: Path) -> None:
    clip = dataclasses.replace(config.model, backbone="clip")
    again = dataclasses.replace(config, clip="", init_from=str(workdir), model=clip)
    with pytest.raises(CheckpointError, match=r"vision\.cls: expected"):
        start_lib.take_over(recipe_of(again))
