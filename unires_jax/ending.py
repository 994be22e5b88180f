"""How a process of ours ends: never without a word. Standard library only.

A process that is killed, or that the runtime aborts, cannot speak. A witness can: a
small child that reads from a pipe what is known of the run, and speaks when the pipe
closes without a farewell. It ends with the process it watches, however that ends.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any, NoReturn

GO_ON = "the same command goes on from there"

ALONE = "the process"  # the name of one that is no member of a cluster

_known: dict[str, str] = {"name": ALONE, "checkpoints": ""}
_witness: subprocess.Popen[bytes] | None = None
_speaking = threading.Lock()
_speaker = 0  # the thread that holds it


def watch_over() -> None:
    """Start the witness. Without one, where none can be started, nothing is lost."""
    global _witness
    with contextlib.suppress(OSError):
        _witness = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
    _tell(_known)


def know(**facts: str) -> None:
    """What the last words tell: `name` of the process, its folder of `checkpoints`."""
    _known.update(facts)
    _tell(_known)


def part() -> None:
    """The process ends with words of its own; the witness says nothing more."""
    _tell({"parted": "yes"})


def _tell(facts: dict[str, str]) -> None:
    if _witness and _witness.stdin:
        with contextlib.suppress(OSError):  # the witness is gone
            _witness.stdin.write(json.dumps(facts).encode() + b"\n")
            _witness.stdin.flush()


def claim() -> None:
    """Be the thread that ends this process; one that comes second waits for ever.

    Returns at once to whoever is first, and to the same thread again.
    """
    global _speaker
    if _speaker != threading.get_ident():
        _speaking.acquire()
        _speaker = threading.get_ident()


def leave(words: str, code: int) -> NoReturn:
    """Say the last words and end at once, whatever other threads wait for."""
    claim()
    sys.stdout.flush()
    print(f"\n{words}", file=sys.stderr, flush=True)  # a progress bar's line is open
    part()
    os._exit(code)


def last_good() -> str:
    """The last complete checkpoint, and that it can be gone on from; "" if unknown."""
    return last_good_of(_known["checkpoints"])


def last_good_of(folder: str) -> str:
    """The same of a folder of checkpoints, in which a complete one has its number."""
    if not folder:
        return ""
    try:
        steps = [int(name) for name in os.listdir(folder) if name.isdigit()]
    except OSError:
        steps = []
    if not steps:
        return "nothing was saved yet"
    return f"last good step {max(steps)}: {GO_ON}"


def name() -> str:
    """What this process is called: `process 1 of 4 (host)`, or `ALONE`."""
    return _known["name"]


def _listen() -> None:
    """The witness: until the pipe closes, then say what was not said."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    known: dict[str, Any] = {}
    for line in sys.stdin:
        known.update(json.loads(line))
    if known and "parted" not in known:
        others = ", or ended by its runtime because another process is gone"
        others = "" if known["name"] == ALONE else others
        words = f"{known['name']} ended without a word (killed, out of memory{others})"
        saved = last_good_of(known["checkpoints"])
        print("\n" + "; ".join(x for x in (words, saved) if x), file=sys.stderr)


if __name__ == "__main__":
    _listen()
