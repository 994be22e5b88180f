"""Steps compiled for eight devices here: their costs, bounds, table and JSON."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest
from helpers.tiny_run import run_config

from unires_jax.aot.report import Memory, StepReport, measure
from unires_jax.aot.steps import evaluation_steps, train_step
from unires_jax.aot.table import as_json, table, traffic
from unires_jax.config import Config
from unires_jax.training.chips import Chip

CHIP = Chip("test", peak_flops=1e12, hbm_bytes=10**9, bandwidth=1e9)


@pytest.fixture(scope="module")
def config() -> Config:
    """Its text table is split, the rest is too small to be."""
    return run_config(Path(), mesh__fsdp=4)


@pytest.fixture(scope="module")
def train(config: Config) -> StepReport:
    return measure(train_step(config, jax.devices(), 16, "cpu"), 4)


def test_the_step_is_the_one_that_trains(config: Config, train: StepReport) -> None:
    table_size = config.model.text.vocab * config.model.text.width
    assert train.gather_once == 2 * 4 * table_size
    assert train.gather_twice == 3 * 4 * table_size
    assert train.memory.total >= train.memory.arguments > 3 * 4 * table_size // 4
    assert train.bytes_accessed > train.memory.arguments and train.largest
    assert 1 < train.hlo_flops / train.model_flops < 3  # tiny: much is no product
    assert train.fits(CHIP) and not train.fits(
        dataclasses.replace(CHIP, hbm_bytes=1000)
    )


def test_rows_of_the_table_travel_and_not_the_table(
    config: Config, train: StepReport
) -> None:
    vocab, width = config.model.text.vocab, config.model.text.width
    sent = [c.whole.shape for c in train.collectives]
    assert (vocab, width) not in sent
    sentences = config.train.batch * config.data.expressions // 2  # two copies
    sizes = [c.whole.bytes for c in train.collectives if c.kind == "all-to-all"]
    # Rows there and their gradients back, split over the devices of a copy.
    assert sum(sizes) == 2 * 4 * sentences * 16 * width
    share = [vocab, width // 4]
    shard = next(line for line in traffic(train) if line["shape"] == share)
    assert shard["kind"] == "all-reduce" and shard["times"] == 1
    assert shard["parameters"] == ["text.embedding (share)"]


def test_evaluation_is_on_one_device(config: Config) -> None:
    steps = evaluation_steps(config, jax.devices(), 16, "cpu")
    assert [step.name for step in steps] == ["encode_image", "encode_text", "decode"]
    for step in steps:
        report = measure(step, 4)
        assert not report.collectives and report.gather_once == 0
        assert 0.9 < report.hlo_flops / report.model_flops < 4


def test_a_ceiling_by_hand() -> None:
    chip = Chip("test", peak_flops=1000.0, hbm_bytes=100, bandwidth=10.0)
    memory = Memory(10, 20, 30, 1)
    report = StepReport(
        "x", 500.0, 1.0, hlo_flops=600.0, bytes_accessed=20.0, memory=memory
    )
    assert report.memory.total == 61 and report.fits(chip)
    assert report.seconds(chip) == {"model_flops": 0.5, "hlo_flops": 0.6, "bytes": 2.0}
    assert report.mfu_ceiling(chip) == 0.25


def test_table_and_json_say_the_same(train: StepReport) -> None:
    refused = StepReport("decode", 5.0, 1.0, refusal="RESOURCE_EXHAUSTED: hbm 17 of 16")
    text = table([train, refused], CHIP)
    train_line, refused_line = json.loads(json.dumps(as_json([train, refused], CHIP)))
    assert train_line["fits"] and not refused_line["fits"]
    assert train_line["memory"]["total"] == train.memory.total
    assert "RESOURCE_EXHAUSTED: hbm 17 of 16" in text and "NO" in text
    ratio = f"{train.hlo_flops / train.model_flops:.3f}"
    assert ratio in text and "text.embedding (share)" in text
    assert train_line["collective_bytes"] == sum(c.bytes for c in train.collectives)


def test_what_does_not_fit_is_told_and_other_faults_are_not_hidden(
    config: Config,
) -> None:
    step = train_step(config, jax.devices(), 16, "cpu")

    class Refusing:
        def __init__(self, words: str):
            self.words = words

        def compile(self) -> None:
            raise jax.errors.JaxRuntimeError(self.words)

    full = Refusing("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm")
    refused = measure(step._replace(lower=lambda: full), 4)
    assert "out of memory" in refused.refusal and not refused.fits(CHIP)
    broken = Refusing("INTERNAL: a bug")
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        measure(step._replace(lower=lambda: broken), 4)
