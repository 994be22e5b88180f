"""One writer at a time in a folder: a run in its workdir, a build, an export.

On a file system the main process holds a lock of the kernel's (flock) on `run.lock`,
which is gone with the process, however that ends. A bucket knows no locks: there the
file is a lease that its holder renews, and one that is not renewed is taken over.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unires_jax.errors import ConfigError
from unires_jax.files import Location, in_bucket, locate

FILE = "run.lock"
RENEW_SECONDS = 20.0
EXPIRE_SECONDS = 60.0  # a lease not renewed for so long is nobody's; ours
SETTLE_SECONDS = 1.0


@contextlib.contextmanager
def hold(workdir: str) -> Iterator[None]:
    """Hold a workdir, made if need be, for as long as the context is entered.

    `workdir` is a folder, or a bucket's address as `gs://bucket/run`. Raises
    ConfigError naming who holds it already, or that it cannot be written.
    """
    holding = _lease if in_bucket(workdir) else _flock
    with holding(workdir):
        yield


@contextlib.contextmanager
def hold_folder(folder: Path, work: str, *, wait: bool = False) -> Iterator[bool]:
    """Hold a folder of this machine, which is there, and leave no file in it.

    False where its file system knows no locks. Raises ConfigError if another process
    holds it, calling that another `work`; or waits for its end.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        except BlockingIOError:
            raise ConfigError(
                f"{folder} is being written by another {work}; wait for its end"
            ) from None
        except OSError:
            held = False
        yield held
    finally:
        os.close(handle)


@contextlib.contextmanager
def _flock(workdir: str) -> Iterator[None]:
    path = Path(workdir) / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); take another --workdir"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(_in_use(workdir, file.read())) from None
        except OSError:  # a file system without locks
            with _lease(workdir):
                yield
            return
        file.truncate(0)
        file.write(json.dumps(_holder()))
        file.flush()
        yield
        file.truncate(0)


def _holder() -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {"host": socket.gethostname(), "process": os.getpid(), "since": since}


def _in_use(workdir: str, text: str) -> str:
    """Who holds it, as far as the file says (its holder may be writing it)."""
    holder: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        holder = json.loads(text)
    who = "another run"
    if "process" in holder:
        who = "process {process} on {host} since {since}".format_map(holder)
    return (
        f"{workdir} is in use by {who}; two runs would overwrite each other. Wait for "
        "it, stop it, or take another --workdir"
    )


@contextlib.contextmanager
def _lease(workdir: str) -> Iterator[None]:
    path = locate(workdir) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    _await_expiry(path, workdir)
    lease = json.dumps(_holder())
    path.write_text(lease)
    time.sleep(SETTLE_SECONDS)  # of two that start at once, the last to write has it
    if (text := _text(path)) != lease:
        raise ConfigError(_in_use(workdir, text or ""))
    over = threading.Event()
    renewer = threading.Thread(target=_renew, args=(path, over), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        over.set()
        renewer.join()
        path.unlink(missing_ok=True)


def _renew(path: Location, over: threading.Event) -> None:
    number, holder = 0, _holder()
    while not over.wait(RENEW_SECONDS):
        number += 1
        with contextlib.suppress(OSError):  # a bucket that is out of reach for a while
            path.write_text(json.dumps(holder | {"renewed": number}))


def _await_expiry(path: Location, workdir: str) -> None:
    """Return when nobody renews the lease. Raises ConfigError when somebody does.

    Clocks of hosts differ, so what counts is whether its text changes meanwhile.
    """
    first = _text(path)
    if not first:
        return
    print(f"{path}: waiting {EXPIRE_SECONDS:.0f} s to see whether it is renewed")
    deadline = time.monotonic() + EXPIRE_SECONDS
    while time.monotonic() < deadline:
        text = _text(path)
        if text is None:  # given back
            return
        if text not in (first, ""):  # empty while it is written
            raise ConfigError(_in_use(workdir, text))
        time.sleep(RENEW_SECONDS / 10)


def _text(path: Location) -> str | None:
    """None for no file."""
    try:
        return str(path.read_text())
    except OSError:
        return None
