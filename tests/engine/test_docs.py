"""docs/engine.md: its commands, on small stand-ins for models and data; its tables."""

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT
from helpers.worked_example import Clone, blocks

from unires_jax import cli, partworld
from unires_jax.data.prepared import open_split
from unires_jax.data.records import PART, Record, runs_of
from unires_jax.engine.backends import BACKENDS
from unires_jax.engine.checks import CODES
from unires_jax.engine.settings import Thresholds
from unires_jax.prepare.mres.write import write

PAGE = (ROOT / "docs/engine.md").read_text()
ROLES = ("segmenter", "part_finder", "captioner", "scorer", "grounder", "vocabulary")
TRUTH = [f"--config.models.{role}=exact:truth" for role in ROLES]
TRUTH += ["--config.expressions.object_side=32"]  # as the page says of small pictures
ENGINE = ROOT / "unires_jax/engine"
NEEDED = ("command.py", "backends/exact.py", "part_sources/command.py")
merged = pytest.mark.skipif(
    not all((ENGINE / name).exists() for name in NEEDED),
    reason="the engine's commands are not all there",
)


def commands(number: int) -> list[str]:
    """Those of one block of the page."""
    return blocks(PAGE, "sh")[number].splitlines()


def prepare_photographs(folder: Path) -> None:
    """The page's script, and the truth that stands for every model."""
    (script,) = blocks(PAGE, "python")
    (folder / "make_photos.py").write_text(script.replace("count=50", "count=5"))
    truth = folder / "truth"
    truth.mkdir()
    write(truth / "train.jsonl.gz", partworld.draw_records(7, "train", 5))


def prepare_paco(folder: Path) -> None:
    """Files in PACO's manner, of drawn scenes."""
    (folder / "coco").mkdir()
    for split, count in (("train", 4), ("val", 2)):
        records = list(partworld.draw_records(7, split, count))
        for record in records:
            (folder / "coco" / record.filename).write_bytes(record.image)
        text = json.dumps(paco(records))
        (folder / f"paco_lvis_v1_{split}.json").write_text(text)


def paco(records: Iterable[Record]) -> dict[str, Any]:
    """Records as PACO's JSON: parts are categories, `obj_ann_id` their objects."""
    names: dict[str, int] = {}
    images, annotations = [], []
    for record in records:
        images.append(
            {
                "id": record.image_id,
                "file_name": record.filename,
                "height": record.height,
                "width": record.width,
            }
        )
        first = len(annotations) + 1
        for i, mask in enumerate(record.masks):
            part = mask.level == PART
            name = f"{mask.category}:{mask.part}" if part else mask.category
            annotations.append(
                {
                    "id": first + i,
                    "image_id": record.image_id,
                    "category_id": names.setdefault(name, len(names) + 1),
                    "obj_ann_id": first + (mask.parent if part else i),
                    "segmentation": runs_of(record, mask).rle,
                    "bbox": list(mask.bbox),
                    "area": mask.area,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for name, i in names.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


@merged
def test_both_doors_lead_to_prepared_data(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clone = Clone(tmp_path)
    prepare_photographs(tmp_path)
    prepare_paco(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in (*commands(0), *commands(2)):
        program, *words = shlex.split(command)
        if program == "python":
            clone(command)
            continue
        truth = TRUTH if words[:2] == ["engine", "run"] else []
        here = ["--workers", "0"] if words[0] == "build" else []
        assert cli.main([*words, *truth, *here]) == 0, command
        if words[0] == "doctor":
            assert "Nothing is wrong." in capsys.readouterr().out, command
    for name, least in (("data_engine", 5), ("data_paco", 6)):
        splits = [open_split(f"mres32m:{s}", name) for s in ("train", "val")]
        assert sum(map(len, splits)) == least
        assert all(s[i].expressions for s in splits for i in range(len(s)))
    stats = json.loads(Path("engine/report/stats.json").read_text())
    assert stats["kept"]["part"] > 0 and stats["kept"]["text"] > 0


@merged
@pytest.mark.slow
def test_both_doors_lead_to_a_model(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    prepare_photographs(tmp_path)
    prepare_paco(tmp_path)
    clone.quickstart()
    for number in range(4):
        for command in commands(number):
            run = " ".join(TRUTH) if command.startswith("unires engine run") else ""
            output = clone(f"{command} {run}")
        if number % 2:
            assert "mres32m:val" in output
    for name in ("engine", "paco"):
        metrics = tmp_path / "runs" / name / "evaluation/metrics.json"
        scored = json.loads(metrics.read_text())["mres32m:val"]
        assert scored["pooled"]["mIoU"] is not None


def test_the_tables_are_the_programs() -> None:
    rows = re.findall(r"^\| ([A-Z]\d) \| (.*?) \| (.*?) ?\|$", PAGE, re.MULTILINE)
    assert {code: why for code, why, _ in rows} == CODES
    usual = Thresholds()
    said = re.findall(r"`(\w+)` (?:IoU )?(-?[\d.]+)", " ".join(row[2] for row in rows))
    assert {name: float(value) for name, value in said} == {
        name: value for name, value in vars(usual).items() if name != "detector"
    }
    roles = dict(re.findall(r"^\| (\w+) \| (`.*) \|$", PAGE, re.MULTILINE))
    assert set(roles) == {*ROLES, "any"}
    for name, entry in BACKENDS.items():
        for role in entry.roles if name != "exact" else ("any",):
            assert f"`{name}" in roles[role], (name, role)
