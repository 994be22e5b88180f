"""`unires engine run` with tiny models of the real classes: each role by every one."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from unires_jax import cli, partworld
from unires_jax.engine import backends, shard_files
from unires_jax.engine.backends import BACKENDS
from unires_jax.engine.plan import plan
from unires_jax.engine.settings import ModelSettings
from unires_jax.engine.stages import STAGES

pytest.importorskip("torch")
pytest.importorskip("transformers")
from helpers import tiny_language_models as words

ROLES = tuple(f.name for f in dataclasses.fields(ModelSettings))[:6]
# A column is a role, a row a run; of sam3 also the folder as it is published.
RUNS = (
    ("sam2", "owlv2", "florence2", "clip", "predictor", "shipped"),
    ("sam", "grounding_dino", "qwen3_vl", "siglip2", "florence2", "causal_lm"),
    ("sam3_tracker", "sam3", "florence2", "clip", "sam3", "shipped"),
    ("sam_hq", "clipseg", "qwen3_vl_pixels", "siglip2", "clipseg", "shipped"),
    ("sam2", "mm_grounding_dino", "florence2", "clip", "clipseg", "shipped"),
)
# Compiling ours is most of the time.
MARKED = [pytest.param(RUNS[0], marks=pytest.mark.slow), *RUNS[1:]]
OURS = ("predictor", "shipped")  # they come with the program
WORDS: dict[str, Callable[[Path], Path]] = {
    "florence2": words.make_florence,
    "qwen3_vl": words.make_qwen_vl,
    "qwen3_vl_pixels": words.make_qwen_vl,
    "clip": words.make_clip,
    "siglip2": words.make_siglip2,
    "causal_lm": words.make_causal_lm,
}


def test_every_model_of_every_role_has_a_run() -> None:
    for role, names in zip(ROLES, zip(*RUNS, strict=True), strict=True):
        able = {name for name, entry in BACKENDS.items() if role in entry.roles}
        assert set(names) == able - {"exact"}, role


def planned(folder: Path, count: int = 2) -> Path:
    """A plan of drawn pictures, in shards of one."""
    lines = []
    for record in partworld.draw_records(7, "train", count):
        (folder / record.filename).write_bytes(record.image)
        boxes = []
        for mask in record.masks:
            x, y, width, height = mask.bbox
            if not mask.part:
                box = [x, y, x + width, y + height]
                boxes.append({"box": box, "category": mask.category})
        lines.append(json.dumps({"image": record.filename, "boxes": boxes}))
    (folder / "boxes.jsonl").write_text("\n".join(lines))
    plan(folder / "engine", [folder / "boxes.jsonl"], folder, shard=1)
    return folder / "engine"


@pytest.mark.parametrize("names", MARKED, ids="-".join)
def test_each_stage_runs(
    names: tuple[str, ...],
    tmp_path: Path,
    tiny_model: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plumbing: random models say nothing of use, so nothing is filtered."""
    out = planned(tmp_path)
    argv = ["--config.preset=none", "--config.expressions.object_side=32"]
    for role, name in zip(ROLES, names, strict=True):
        place = f":{tiny_model(name)}" if name not in (*WORDS, *OURS) else ""
        if name in WORDS:
            place = f":{WORDS[name](tmp_path / role)}"
        argv.append(f"--config.models.{role}={name}{place}")
    assert cli.main(["engine", "run", "--out", str(out), *argv]) == 0
    assert cli.main(["engine", "status", "--out", str(out)]) == 0
    with monkeypatch.context() as patched:
        patched.delattr(backends, "load")  # what is done is known by its files alone
        for command in ("run", "retry"):
            assert cli.main(["engine", command, "--out", str(out)]) == 0
    last = [
        picture
        for path in shard_files.paths(out, STAGES[-1].name)
        for picture in shard_files.read(path)
    ]
    regions = [region for picture in last for region in picture.regions]
    sources = {value.partition("@")[0] for r in regions for value in r.src.values()}
    sources |= {t.src.partition("@")[0] for r in regions for t in r.texts}
    assert {names[0], names[2]} <= sources and not any(p.errors for p in last)
    scores = [text.scores for region in regions for text in region.texts]
    assert any("clip" in some and "own_iou" in some for some in scores)
