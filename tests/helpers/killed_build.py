"""`unires build` as a process that comes to a sudden end.

    python killed_build.py kill:5 mres32m --raw ... --workers 0
    python killed_build.py hang:00002.done mres32m --raw ... --workers 2

`kill:n` sends itself SIGKILL before the n-th file gets its name; `hang:name` lets the
process that gives a file this name wait for ever (workers import this file again).
"""

import os
import signal
import sys
import time
from pathlib import Path

KIND, _, WHAT = sys.argv[1].partition(":")
count = 0


def listen(event: str, args: tuple) -> None:
    global count
    if event != "os.rename":
        return
    count += 1
    if KIND == "kill" and count == int(WHAT):
        os.kill(os.getpid(), signal.SIGKILL)
    if KIND == "hang" and Path(os.fsdecode(args[1])).name == WHAT:
        time.sleep(3600)


sys.addaudithook(listen)

if __name__ == "__main__":
    from unires_jax.prepare import build

    sys.exit(build.main(sys.argv[2:]))
