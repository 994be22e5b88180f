"""What processes find each other to differ in."""

import json
from pathlib import Path

from helpers.tiny import tiny_config

from unires_jax.inference.loaded import Loaded
from unires_jax.training.agreement import agree, differences

SAME = {"config.optim.clip": "1.0", "code revision": "abc", "workdir": "0f"}


def test_differences_name_process_and_value() -> None:
    texts = {i: json.dumps(SAME) for i in range(4)}
    assert differences(texts) == ""
    texts[2] = json.dumps(SAME | {"config.optim.clip": "7.0", "workdir": "/w: none"})
    texts[3] = json.dumps({k: v for k, v in SAME.items() if k != "code revision"})
    lines = differences(texts).splitlines()
    assert [line.strip() for line in lines[:2]] == [
        "process 2 differs from process 0:",
        "config.optim.clip: 7.0, process 0 has 1.0",
    ]
    assert "not to be read (/w: none)" in lines[2] and "one shared folder" in lines[2]
    assert lines[3].strip() == "process 3 differs from process 0:"
    assert lines[4].strip() == "code revision: None, process 0 has abc"
    assert len(lines) == 5


def test_a_lone_process_agrees_with_itself(loaded: Loaded, tmp_path: Path) -> None:
    agree(tiny_config(), loaded.tokenizer, str(tmp_path / "new"))
    assert not list(tmp_path.iterdir())
