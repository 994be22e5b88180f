"""Files of a whole evaluation, evaluate.py as a user starts it, the training hook."""

import dataclasses
import io
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers import small_data
from helpers.coloured_boxes import IMAGE_SIZE, ColourSegmenter, make_record
from helpers.paths import ROOT
from helpers.programs import check_in_two_processes, run
from helpers.tiny import change, random_params
from rich.console import Console

from unires_jax.checkpoint import Checkpoints, describe
from unires_jax.config import Config, to_dict
from unires_jax.data.prepared import PreparedSplit, open_split
from unires_jax.data.records import Record
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import ConfigError
from unires_jax.evaluation import command, predictors
from unires_jax.evaluation.evaluator import evaluate
from unires_jax.evaluation.in_training import make_evaluate
from unires_jax.evaluation.predictors import ModelPredict
from unires_jax.evaluation.report import page, pictures
from unires_jax.evaluation.report.tables import print_tables
from unires_jax.inference.steps import Compiled
from unires_jax.pixels.masks import RunMask


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    records = [make_record(i) for i in range(7)]
    small_data.write(folder, "boxes", val=records[:4], testA=records[4:])
    return folder


@pytest.fixture
def splits(data: Path) -> dict[str, PreparedSplit]:
    return {f"boxes:{s}": open_split(f"boxes:{s}", data) for s in ("val", "testA")}


def attend(record: Record, sentence: str) -> page.Attention:
    rng = np.random.default_rng(0)
    words = sentence.split()
    level = page.LevelAttention(
        rng.uniform(size=(9, 8, 8)), rng.uniform(size=(9, len(words)))
    )
    return page.Attention(words, {"low": level, "high": level})


@pytest.fixture
def files(
    splits: dict[str, PreparedSplit],
    segmenter: ColourSegmenter,
    tokenizer: Tokenizer,
    config: Config,
    tmp_path: Path,
) -> Path:
    predict = ModelPredict(segmenter, tokenizer, config)
    about = {"name": "<b>colours</b>", "step": 7}
    subject = command.Subject(config, predict, attend, about)
    command.run(subject, splits, tmp_path / "out", derange=True)
    return tmp_path / "out"


FILTER_WORDS = "which words filter them"


def test_metrics_file(files: Path) -> None:
    metrics = json.loads((files / "metrics.json").read_text())
    assert list(metrics) == ["boxes:val", "boxes:testA"]
    val = metrics["boxes:val"]
    assert val["part"]["mIoU"] > 0.8
    assert val["pooled"]["count"] == val["object"]["count"] + val["part"]["count"]
    assert val["about"]["protocol"] == "native" and val["about"]["step"] == 7
    assert val["about"]["data"] != metrics["boxes:testA"]["about"]["data"]
    assert val["reading"]["object"]["deranged_mIoU"] < 0.5


def test_predictions_reproduce_the_metrics(files: Path) -> None:
    lines = (files / "predictions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len({row["key"] for row in rows}) == len(rows) == 18 + 14
    val = [r for r in rows if r["key"].startswith("boxes/val/")]
    parts = [r["I"] / r["U"] for r in val if r["level"] == "part"]
    metrics = json.loads((files / "metrics.json").read_text())
    assert np.mean(parts) == pytest.approx(metrics["boxes:val"]["part"]["mIoU"])


class _Loads(HTMLParser):
    """Everything a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("link", "iframe", "object", "embed")
        self.found += [v or "" for k, v in attrs if k in ("src", "href", "srcset")]


def test_report_stands_alone(files: Path) -> None:
    html = (files / "report.html").read_text()
    assert not re.search(r"https?:|url\(|@import", html)
    loads = _Loads()
    loads.feed(html)
    assert loads.found
    assert all(u.startswith(("data:image/", "#boxes:")) for u in loads.found)
    assert "<b>colours" not in html  # text from outside is escaped
    for word in ("the red car", "wheel", "worst", "Group tokens", "says none"):
        assert word in html
    assert FILTER_WORDS in html and 'class="words"' in html


def test_report_of_a_model_without_filters_says_nothing_of_words(
    splits: dict[str, PreparedSplit],
    segmenter: ColourSegmenter,
    tokenizer: Tokenizer,
    config: Config,
    tmp_path: Path,
) -> None:
    def look(record: Record, sentence: str) -> page.Attention:
        attention = attend(record, sentence)
        levels = {
            name: dataclasses.replace(level, words=None)
            for name, level in attention.levels.items()
        }
        return page.Attention(attention.words, levels)

    predict = ModelPredict(segmenter, tokenizer, config)
    val = {"boxes:val": splits["boxes:val"]}
    subject = command.Subject(config, predict, look, {"name": "x", "step": 7})
    command.run(subject, val, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text()
    assert "Group tokens" in html and "attention of group" in html
    assert FILTER_WORDS not in html and 'class="words"' not in html


def test_nothing_half_written_is_left(files: Path) -> None:
    names = {p.name for p in files.iterdir()}
    assert names == {"gallery.jpg", "metrics.json", "predictions.jsonl", "report.html"}


@pytest.mark.parametrize(
    ("answer", "figure", "share"),
    [("ground_truth", "100.0", 1), ("empty", "0.0", None)],
)
def test_tables_of_known_answers(
    splits: dict[str, PreparedSplit],
    config: Config,
    tmp_path: Path,
    answer: str,
    figure: str,
    share: int | None,
) -> None:
    predict = getattr(predictors, answer)
    subject = command.Subject(config, predict, None, {"name": answer})
    results = command.run(subject, splits, tmp_path)
    for block in results.values():  # empty masks decide about no sentence
        decided = {"N-acc": share, "T-acc": share} if share else "not decided"
        expected = block["no_target"] | decided if share else decided
        assert block["no_target"] == expected
    text = io.StringIO()
    print_tables(results, Console(file=text, width=80))
    rows = [line.split() for line in text.getvalue().splitlines()]
    for level in ("object", "part", "pooled"):
        numbers = [row[1:8] for row in rows if row[:1] == [level]]
        assert numbers == [[figure] * 7] * 2
    assert (tmp_path / "report.html").exists()


def test_overlay_colours_say_what_happened(
    splits: dict[str, PreparedSplit], config: Config
) -> None:
    split = splits["boxes:val"]
    row = evaluate(split, predictors.ground_truth, config, images=1)[0]
    target, nothing = row.target.pixels(), RunMask.empty(*row.target.pixels().shape)
    size = max(target.shape)
    right = pictures.layer(row, size)
    assert (right[target][:, :3] == pictures.HIT).all()
    assert (right[~target] == 0).all()
    missed = pictures.layer(dataclasses.replace(row, mask=nothing), size)
    assert (missed[target][:, :3] == pictures.MISSED).all()
    extra = pictures.layer(dataclasses.replace(row, target=nothing), size)
    assert (extra[target][:, :3] == pictures.EXTRA).all()


def test_cases_come_from_different_pictures(
    splits: dict[str, PreparedSplit], config: Config
) -> None:
    rows = evaluate(splits["boxes:val"], predictors.ground_truth, config)
    ranked = [
        dataclasses.replace(r, intersection=i, union=99) for i, r in enumerate(rows)
    ]
    cases = page.select(ranked, np.random.default_rng(0))
    assert len({r.image for r in cases["best"][:4]}) == 4
    assert cases["best"][0] is ranked[-1] and cases["worst"][0] is ranked[0]


@pytest.fixture
def tiny(config: Config, data: Path) -> Config:
    """A model small enough to compile in seconds."""
    values = {"data__dir": str(data), "data__lengths": (16,)}
    values |= {"eval__splits": ("boxes:val",), "eval__batch": 2, "eval__expressions": 8}
    return change(config, model__vision__patch=16, **values)


def test_training_evaluates_first_pictures(tiny: Config, tokenizer: Tokenizer) -> None:
    tiny.eval.watch_images = 3
    evaluate_parameters = make_evaluate(tiny, tokenizer)
    params = random_params(tiny.model, 0.1)
    metrics, pictures = evaluate_parameters(5, params)
    assert 0 <= metrics["pooled/mIoU"] <= 1 and metrics["pooled/count"] == 12
    assert list(pictures) == ["watch/0", "watch/1", "watch/2"]
    assert all(p.dtype == np.uint8 and p.ndim == 3 for p in pictures.values())
    assert evaluate_parameters(6, params)[0] == metrics


def test_a_training_that_evaluates_no_split_is_told(
    tiny: Config, tokenizer: Tokenizer
) -> None:
    with pytest.raises(ConfigError, match=r"eval\.splits names no split"):
        make_evaluate(change(tiny, eval__splits=(), eval__watch=""), tokenizer)


def test_all_devices_answer_as_one(
    tiny: Config, tokenizer: Tokenizer, splits: dict[str, PreparedSplit]
) -> None:
    params = random_params(tiny.model, 0.1)
    alone = ModelPredict(Compiled(tiny).bind(params), tokenizer, tiny)
    eight = change(tiny, eval__batch=8)
    steps = Compiled(eight)
    assert steps.mesh.size == 8
    together = ModelPredict(steps.bind(params), tokenizer, eight)
    split = splits["boxes:val"]
    one_device, all_devices = (evaluate(split, p, tiny) for p in (alone, together))
    for a, b in zip(one_device, all_devices, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-4)


def test_one_device_where_all_cannot_share(
    tiny: Config, caplog: pytest.LogCaptureFixture
) -> None:
    assert Compiled(tiny).mesh.size == 1
    assert "one of 8 devices" in caplog.text and "eval.batch=2" in caplog.text


OTHER_DATA = """
import pytest
from unires_jax.data.prepared import open_split
from unires_jax.evaluation import command
splits = {{"boxes": open_split("boxes:testA" if me else "boxes:val", "{data}")}}
subject = command.without_model("empty", "", command.NATIVE)
with pytest.raises(command.DataError, match="process 1 reads another boxes than proc"):
    command.run(subject, splits, "{data}/out")
"""


def test_processes_that_read_other_data(data: Path) -> None:
    check_in_two_processes(OTHER_DATA.format(data=data))


@pytest.fixture
def workdir(tiny: Config, tokenizer: Tokenizer, data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    params = random_params(tiny.model, 0.1)
    state = {"params": params, "ema": params}
    meta = describe(tiny, tokenizer.to_json(), {})
    meta |= {"batch": 3, "no_target_trained": False}
    with Checkpoints(folder, tiny.train) as checkpoints:
        checkpoints.save(3, state, meta, None)
    (folder / "config.json").write_text(json.dumps(to_dict(tiny)))
    return folder


def start(*args: str) -> subprocess.CompletedProcess[str]:
    return run(ROOT / "evaluate.py", *args, cwd=ROOT, XLA_FLAGS="", JAX_PLATFORMS="cpu")


def test_evaluate_script(workdir: Path) -> None:
    done = start(f"--workdir={workdir}", "--splits=boxes:val,boxes:testA")
    assert done.returncode == 0, done.stderr
    assert "boxes:testA, protocol native" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith(str(workdir / "evaluation" / "report.html"))
    metrics = json.loads((workdir / "evaluation" / "metrics.json").read_text())
    assert metrics["boxes:val"]["about"]["step"] == 3
    assert metrics["boxes:val"]["expressions"] == 18


def test_a_model_is_scored_at_another_side_beside_its_own(workdir: Path) -> None:
    side = 2 * IMAGE_SIZE
    for flags in ((), (f"--image_size={side}",)):
        done = start(f"--workdir={workdir}", "--images=2", *flags)
        assert done.returncode == 0, done.stderr
    own, other = (
        json.loads((workdir / name / "metrics.json").read_text())["boxes:val"]
        for name in ("evaluation", f"evaluation_{side}")
    )
    assert "image_size" not in own["about"] and other["about"]["image_size"] == side
    ceilings = [x["object"]["ceiling_mIoU"] for x in (own, other)]
    assert ceilings[0] < ceilings[1]  # the grid is finer
    done = start(f"--workdir={workdir}", f"--image_size={side + 1}")
    assert done.returncode == 1 and "must be a positive multiple" in done.stderr
    out = f"--out={workdir / 'evaluation'}"
    done = start(f"--workdir={workdir}", f"--image_size={side}", "--images=2", out)
    assert done.returncode == 1 and "holds another evaluation" in done.stderr
    done = start("--predict=empty", "--splits=boxes:val", f"--image_size={side}")
    assert done.returncode == 1 and "--image_size is" in done.stderr


def test_evaluate_script_names_what_is_wrong(data: Path, tmp_path: Path) -> None:
    done = start(f"--data_dir={data}", "--splits=boxes:test", "--predict=empty")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("it has ['testA', 'val']")
    assert "Traceback" not in done.stderr
    done = start(f"--workdir={tmp_path / 'none'}")
    assert done.returncode == 1 and "no such folder" in done.stderr
    assert "derange" in start("--help").stdout
    done = start(f"--data_dir={data}", "--splits=,", "--predict=empty")
    assert done.returncode == 1 and "no split is named" in done.stderr
    done = start("--predict=oracle")
    assert done.returncode == 2 and "ground_truth" in done.stderr


def test_a_file_of_masks_from_start_to_end(data: Path, tmp_path: Path) -> None:
    common = (f"--data_dir={data}", "--splits=boxes:val")
    done = start(*common, "--predict=ground_truth", f"--out={tmp_path / 'a'}")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "a" / "predictions.jsonl"
    lines = file.read_text().splitlines()
    (tmp_path / "some.jsonl").write_text("\n".join(lines[2:]))

    predictions = f"--predictions={tmp_path / 'some.jsonl'}"
    done = start(*common, predictions, "--protocol=lisa")
    assert done.returncode == 0, done.stderr
    assert "boxes:val, protocol lisa, 4 pictures, binary input" in done.stdout
    assert "2 of 18 expressions" in done.stdout and "gIoU" in done.stdout
    metrics = json.loads((tmp_path / "some_lisa" / "metrics.json").read_text())
    block = metrics["boxes:val"]
    assert block["about"]["input"] == "binary input"
    assert block["names"] == {"mIoU": "gIoU", "oIoU": "cIoU"}
    assert block["part"]["mIoU"] == pytest.approx(3 / 4, abs=1e-4)
    html = (tmp_path / "some_lisa" / "report.html").read_text()
    assert "protocol lisa, binary input" in html

    (tmp_path / "a").rename(tmp_path / "lr=1,bs=2")
    sides = (str(tmp_path / "some_lisa"), str(tmp_path / "lr=1,bs=2"))
    done = start("--compare", *sides, f"--data_dir={data}", f"--out={tmp_path / 'c'}")
    assert done.returncode == 1 and "--protocol=<one>" in done.stderr
    done = start(
        *(f"--compare={','.join(sides)}", *common),
        *(f"--out={tmp_path / 'c'}", "--protocol=cris"),
    )
    assert done.returncode == 0, done.stderr
    assert "protocol cris, binary input" in done.stdout
    assert f"{tmp_path / 'c' / 'comparison.html'} shows" in done.stdout
    assert (tmp_path / "c" / "comparison.html").exists()


def test_wrong_command_lines_are_one_clear_line(data: Path, tmp_path: Path) -> None:
    done = start("--protocol=rella")
    assert done.returncode == 2 and "native|cris|lavt|rela" in done.stderr
    done = start("--predictions=none.jsonl", "--splits=boxes:val")
    assert done.returncode == 1 and "none.jsonl: cannot be read" in done.stderr
    done = start("--predictions=none.jsonl")
    assert done.returncode == 1 and "--splits=" in done.stderr
    done = start("--compare", str(tmp_path))
    assert done.returncode == 1 and "--compare A B" in done.stderr
    done = start("--compare")
    assert done.returncode == 1 and "--compare A B" in done.stderr
    done = start("--predict=empty", "--splits=boxes:val", "--images=0")
    assert done.returncode == 2 and "--images" in done.stderr
    assert "Traceback" not in done.stderr
    helped = start("--help").stdout
    assert all(name in helped for name in ("lavt", "--predictions", "--compare runs"))
