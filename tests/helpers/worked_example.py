"""Commands of a page of the documentation, run where a reader would run them."""

import re
import shlex
from pathlib import Path

from helpers.paths import ROOT
from helpers.programs import compiling_once, run

# What the quickstart trains, smaller; the last value of a flag counts.
TINY = shlex.split(
    """--config.model.image_size=32 --config.model.vision.patch=8
    --config.model.vision.width=16 --config.model.vision.depth=2
    --config.model.vision.heads=2 --config.model.vision.mlp=16
    --config.model.text.width=16 --config.model.text.depth=1
    --config.model.text.heads=2 --config.model.text.mlp=16
    --config.model.width=16 --config.model.heads=2 --config.train.steps=2
    --config.model.low_groups=4 --config.model.high_groups=2 --config.train.batch=4
    --config.data.workers=0 --config.eval.watch_images=2"""
)


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a language on a page."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


class Clone:
    """A folder that looks like a clone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("configs", "datasets", "train.py", "evaluate.py"):
            (folder / name).symlink_to(ROOT / name)
        self.env = compiling_once(folder / "cache")

    def __call__(self, command: str) -> str:
        """Run a command of the page; its output."""
        program, *words = shlex.split(command)
        module = ["-m", "unires_jax.cli"] if program == "unires" else []
        tiny = TINY if "train.py" in words else []
        done = run(*module, *words, *tiny, cwd=self.folder, **self.env)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def quickstart(self) -> None:
        """What `make quickstart` leaves, smaller."""
        self("unires build partworld --scenes 8 --eval_scenes 2")
        self(
            "python train.py --config=configs/quickstart.py --workdir=runs/quickstart "
            "--config.train.eval_every=0"
        )
