"""The toy stages as a process that comes to a sudden end.

    python killed_engine.py kill:5 OUT WORKERS

`kill:n` sends itself SIGKILL before the n-th file gets its name (0: never). Workers
import this file again.
"""

import os
import signal
import sys
from pathlib import Path

KIND, _, WHAT = sys.argv[1].partition(":")
count = 0


def listen(event: str, args: tuple) -> None:
    global count
    if event == "os.rename":
        count += 1
        if count == int(WHAT):
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(listen)

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    from helpers import toy_stages

    toy_stages.all_of(Path(sys.argv[2]), int(sys.argv[3]))
