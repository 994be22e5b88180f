"""One process of a run fails: all end, each naming which it was, and why.

A thread in every process reads the board (`hosts.post`) about each second for causes
that others posted. It also posts its own beat; member 0 posts the cause for one that
beats no more. Left alone, the others would wait in a collective for a process that is
gone, until the runtime aborts them minutes later. Source: ours.
"""

import contextlib
import threading
import time
from typing import NoReturn

import jax

from unires_jax import ending, hosts

PERIOD = 1.0  # seconds between two looks
SILENCE = 12.0  # seconds without a beat after which a process counts as gone
CULPRIT = SILENCE + 4 * PERIOD  # seconds within which a cause elsewhere is known
UNREACHABLE = 5  # looks in a row that fail until member 0 counts as gone
FAREWELL = 5.0  # seconds that member 0, whose board it is, waits for the others to read

_over = threading.Event()
_watcher: threading.Thread | None = None


def start() -> None:
    """Watch the others, and be watched, from now on. A lone process does nothing."""
    global _watcher
    if hosts.member_count() > 1:
        _watcher = threading.Thread(target=_watch, name="watch", daemon=True)
        _watcher.start()


def finish() -> None:
    """Wait until all are here, a failure still ending all; then watch no more."""
    hosts.meet("finish")
    _over.set()
    if _watcher:
        _watcher.join(FAREWELL)


def fail(cause: str, words: str) -> NoReturn:
    """Post why this process ends, say its words, and end with exit code 1.

    `cause` is one line for the others, `words` are for this process's own log.
    """
    ending.claim()
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        hosts.post(f"fault/{hosts.member()}", cause)
    _leave(words)


def is_echo(error: BaseException | None) -> bool:
    """Whether an error may be what another process's end looks like from here.

    So does any of the runtime's but for want of this process's own memory.
    """
    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError):
            return not str(error).startswith("RESOURCE_EXHAUSTED")
        error = error.__cause__ or error.__context__
    return False


def await_culprit() -> None:
    """Return unless a cause elsewhere is known soon; that ends this process."""
    time.sleep(CULPRIT)


def _leave(words: str) -> NoReturn:
    if hosts.member() == 0:
        _let_others_read()
    ending.leave(words, 1)


def _let_others_read() -> None:
    """Wait until every other has read of a fault or has one; some may be gone."""
    deadline = time.monotonic() + FAREWELL
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        while time.monotonic() < deadline:
            informed = {0, *hosts.read_board("left"), *hosts.read_board("fault")}
            if len(informed) == hosts.member_count():
                return
            time.sleep(hosts.ASK_SECONDS)


def _watch() -> None:
    beat, beats, unreachable = 0, Beats(), 0
    while not _over.wait(PERIOD):
        beat += 1
        try:
            hosts.post(f"beat/{hosts.member()}", str(beat))
            faults = hosts.read_board("fault")
            if not faults and hosts.member() == 0:
                faults = beats.silent(hosts.read_board("beat"), time.monotonic())
                for number, cause in faults.items():
                    hosts.post(f"fault/{number}", cause)
            unreachable = 0
        except jax.errors.JaxRuntimeError:
            unreachable += 1
            if unreachable < UNREACHABLE or _over.is_set():
                continue
            faults = {
                0: "cannot be reached: killed, out of memory, or its host is gone"
            }
        faults.pop(hosts.member(), None)
        if faults:
            _follow(faults, reachable=not unreachable)


def _follow(faults: dict[int, str], reachable: bool) -> None:
    """End because others do."""
    ending.claim()
    names = {number: f"process {number}" for number in faults}
    if reachable:
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            hosts.post(f"left/{hosts.member()}", "")
            names = {number: hosts.member_name(number) for number in faults}
    lines = [f"error: {names[number]}: {cause}" for number, cause in faults.items()]
    lines.append(
        "; ".join(x for x in (f"{ending.name()} ends too", ending.last_good()) if x)
    )
    _leave("\n".join(lines))


class Beats:
    """When each member was last heard of, by this process's own clock."""

    def __init__(self) -> None:
        self._heard: dict[int, tuple[str, float]] = {}
        self._looked = -SILENCE

    def silent(self, beats: dict[int, str], now: float) -> dict[int, str]:
        """Why each member counts as gone whose beat has not changed for `SILENCE`.

        `beats` by member, `now` in seconds. Members that never beat are not here: those
        ended before they joined. A look that comes late itself, as on a machine that
        slept, forgives all.
        """
        late, self._looked = now - self._looked > SILENCE / 2, now
        for number, beat in beats.items():
            if late or self._heard.get(number, ("", 0))[0] != beat:
                self._heard[number] = beat, now
        return {
            number: f"no sign of life for {SILENCE:.0f} s: killed, out of memory, or "
            "its host is gone"
            for number, (_, heard) in self._heard.items()
            if now - heard > SILENCE
        }
