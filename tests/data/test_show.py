"""The page of batches: whole, self-contained, and true to the batch."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from helpers import small_data
from helpers.tiny import data_config

from unires_jax.data.pipeline import run_tokenizer, train_batches
from unires_jax.data.show import overlay, show


def test_page_holds_the_first_batches(tmp_path: Path) -> None:
    records = [small_data.scene(i) for i in range(5)]
    none = replace(
        records[0].expressions[0], targets=(), no_target=True, sent="no <b>dog</b>"
    )
    records[0] = replace(records[0], expressions=(none,))
    folder = small_data.write(tmp_path / "data", train=records)
    config = data_config(folder)
    config.train.batch = 5
    page = show(config, tmp_path / "out" / "page.html", batches=1)
    html, facts = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    batch = next(train_batches(config, run_tokenizer(config)))

    rows = [row for image in facts for row in image["rows"]]
    assert len(facts) == 5 and len(rows) == batch.valid.sum()
    assert [image["empty"] for image in facts] == (~batch.valid).sum(1).tolist()
    assert [r["level"] == "part" for r in rows] == batch.level[batch.valid].tolist()
    assert [r["no_target"] for r in rows] == batch.no_target[batch.valid].tolist()
    assert sum(r["no_target"] for r in rows) == 1
    assert all(r["share"] > 0 for r in rows if not r["no_target"])
    for row in rows:
        if "<" not in row["sentence"]:
            assert row["sentence"] in html
    assert "<b>dog" not in html  # sentences are escaped
    assert not re.search(r'(?:src|href)="(?!data:)', html)  # nothing from elsewhere
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert len(sources) == len(facts) + len(rows)
    data = np.frombuffer(base64.b64decode(sources[0]), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB).astype(int)
    assert np.abs(picture - batch.images[0]).mean() < 25  # JPEG of noise
    assert {p.name for p in page.parent.iterdir()} == {"page.html", "page.json"}


def test_overlay_tints_the_mask_and_darkens_the_rest() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    mask = np.zeros((4, 4), np.uint8)
    mask[:, :2] = 255
    tinted = overlay(image, mask, (250, 0, 0))
    assert (tinted[:, :4] == (175, 50, 50)).all()
    assert (tinted[:, 4:] == 55).all()
