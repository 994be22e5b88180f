"""train.py as a process to which something happens at a chosen moment of its own.

    python killed_train.py TERM feed:5 --config=... --workdir=...

It is sent a signal (KILL, TERM), meets bad data (DATA), loses its readers (READERS) or
sleeps for 40 s (SLEEP).
Moments: `feed:n`, before the n-th step of this process; `save:n`, when the n-th
checkpoint of this process is written but has not got its name yet; `begin:n`, when its
folder is made.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM}


def main() -> None:
    name, moment = sys.argv[1:3]
    kind, _, number = moment.partition(":")
    count = [int(number)]

    def tick() -> None:
        count[0] -= 1
        if count[0] == 0:
            happen(name)

    def is_step(path: object) -> bool:
        folder = Path(os.fsdecode(path))  # type: ignore[arg-type]
        return folder.parent.name == "checkpoints"

    def listen(event: str, args: tuple) -> None:
        if (event == "os.rename" and kind == "save" and is_step(args[1])) or (
            event == "os.mkdir" and kind == "begin" and is_step(args[0])
        ):
            tick()

    if kind == "feed":
        from unires_jax.training import trainer

        feed = trainer.feed
        trainer.feed = lambda *args: (tick(), feed(*args))[1]
    else:
        sys.addaudithook(listen)
    sys.argv[:3] = [str(ROOT / "train.py")]
    runpy.run_path(sys.argv[0], run_name="__main__")


def happen(name: str) -> None:
    """What the name says."""
    if name == "DATA":
        from unires_jax.errors import DataError

        raise DataError("planted")
    if name == "READERS":
        for reader in multiprocessing.active_children():
            reader.kill()
    elif name == "SLEEP":
        time.sleep(40)
    else:
        os.kill(os.getpid(), SIGNALS[name])


if __name__ == "__main__":
    main()
