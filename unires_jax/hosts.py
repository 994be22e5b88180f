"""Processes: joining the cluster of a run, this one's share, what they tell each other.

The only file that knows how many there are. With one, nothing is sent anywhere.

Arrays and long messages go by collectives, which wait for ever for a process that is
gone. What must not is said by the board: texts under names, kept by process 0. A member
is a process by the number that it joined with, which is known before any device is.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from unires_jax import ending
from unires_jax.cluster import JOIN_SECONDS, Cluster
from unires_jax.errors import ClusterError

HEARTBEAT_SECONDS = 25  # jax ends all when one is silent for so long
ASK_SECONDS = 0.2  # between two looks at the board
MEMBER_SECONDS = 1800  # for what may take long in one process: reading data, compiling

Tree = TypeVar("Tree")

PIECE = 1 << 20  # bytes of a message that are sent at a time; ours


def join_cluster(cluster: Cluster, seconds: float = JOIN_SECONDS) -> None:
    """Join the cluster described, if any. Before anything touches a device.

    Ends the process if the others do not come within so many `seconds`: until all have
    come, nobody can tell one that is late from one that is gone. Raises ClusterError if
    jax cannot ask the machine which cluster it belongs to.
    """
    if cluster.processes == 1:
        return
    overdue = threading.Timer(seconds, _leave_unjoined, [cluster, seconds])
    overdue.daemon = True
    overdue.start()
    try:
        _initialize(cluster, seconds + 60)  # ours speaks first
    finally:
        overdue.cancel()
    if member_count() > 1:
        ending.know(name=f"process {member()} of {member_count()} ({_host()})")
        post(f"host/{member()}", _host())


def _initialize(cluster: Cluster, seconds: float) -> None:
    described: dict[str, Any] = {}
    if cluster.processes:
        described = {
            "coordinator_address": cluster.coordinator,
            "num_processes": cluster.processes,
            "process_id": cluster.process,
            "local_device_ids": cluster.local_devices,
            # Else SLURM's one task a node would get one of its GPUs.
            "cluster_detection_method": "deactivate",
        }
    try:
        jax.distributed.initialize(
            **described,
            initialization_timeout=int(seconds),
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        # No cluster found is how a single host looks.
        if cluster.source or "coordinator_address" not in str(error):
            raise ClusterError(
                f"the cluster of {cluster.source or 'this machine'} cannot be joined: "
                f"{error}; give --coordinator, --processes and --process"
            ) from error


def _leave_unjoined(cluster: Cluster, seconds: float) -> None:
    where = f" at {cluster.coordinator}" if cluster.coordinator else ""
    ending.leave(
        f"error: {_host()}: the {cluster.processes or 'other'} processes that "
        f"{cluster.source or 'the machine'} describes did not all come{where} within "
        f"{seconds:g} s; see that each is started, and that this host reaches that of "
        "process 0. --join_seconds waits longer",
        1,
    )


def _host() -> str:
    return socket.gethostname()


def describe_devices() -> str:
    """One line on what was joined: processes, devices, kind, memory."""
    devices = jax.devices()
    first = jax.local_devices()[0]
    limit = (first.memory_stats() or {}).get("bytes_limit")
    if limit:
        memory = f"{limit / 2**30:.1f} GiB each"
    else:  # on CPU
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f"{pages / 2**30:.1f} GiB a host"
    processes = jax.process_count()
    return (
        f"{processes} process{'es' if processes > 1 else ''}, {len(devices)} "
        f"device{'s' if len(devices) > 1 else ''} of kind {first.device_kind}, {memory}"
    )


def member() -> int:
    """This process's number among those that joined; touches no device."""
    return int(_state().process_id)


def member_count() -> int:
    """How many joined; touches no device."""
    return int(_state().num_processes) if _state().client else 1


def member_name(number: int) -> str:
    """`process 1 (host)`."""
    host = read_board("host").get(number, "")
    return f"process {number} ({host})" if host else f"process {number}"


def _state() -> Any:
    # jax has no public way to its key-value store; orbax and others go this one too.
    from jax._src import distributed

    return distributed.global_state


def post(name: str, text: str) -> None:
    """Put a text on the board, over an earlier one of that name.

    Raises jax.errors.JaxRuntimeError if process 0 is gone.
    """
    _state().client.key_value_set(f"unires/{name}", text, True)


def read_board(folder: str) -> dict[int, str]:
    """The texts `<folder>/<number of a member>`, by number. Raises as `post`."""
    if member_count() == 1:
        return {}
    entries = _state().client.key_value_dir_get(f"unires/{folder}/")
    return {int(name.rpartition("/")[2]): text for name, text in entries}


def from_main(name: str, text: str, seconds: float = MEMBER_SECONDS) -> str:
    """What member 0 says; the others' text is not looked at. All must call it alike.

    Raises jax.errors.JaxRuntimeError if it says nothing within `seconds`.
    """
    if member_count() == 1:
        return text
    if member() == 0:
        post(f"main/{name}", text)
        return text
    answer = _state().client.blocking_key_value_get(
        f"unires/main/{name}", int(seconds * 1000)
    )
    return str(answer)


def consult(
    name: str,
    text: str,
    judge: Callable[[dict[int, str]], str],
    seconds: float = MEMBER_SECONDS,
) -> str:
    """Member 0's judgement of everyone's text. All must call it alike.

    `judge` sees, by number, the texts that are there, again whenever more came; what it
    finds wrong ends the wait for the rest. Silent ones are named after `seconds`.
    """
    if member_count() == 1:
        return judge({0: text})
    post(f"{name}/{member()}", text)
    if member() > 0:
        return from_main(name, "", seconds + 60)
    deadline, texts, verdict = time.monotonic() + seconds, {0: text}, ""
    while len(texts) < member_count() and not verdict:
        if time.monotonic() > deadline:
            silent = sorted(set(range(member_count())) - set(texts))
            names = ", ".join(member_name(i) for i in silent)
            verdict = f"{names} said nothing within {seconds:.0f} s"
            break
        time.sleep(ASK_SECONDS)
        texts = read_board(name)
        verdict = judge(texts)
    return from_main(name, verdict)


def meet(name: str, seconds: float = MEMBER_SECONDS) -> None:
    """Wait until all processes came here. Every meeting has its own name.

    Raises jax.errors.JaxRuntimeError if not all come within `seconds`.
    """
    if member_count() > 1:
        _state().client.wait_at_barrier(f"unires/{name}", int(seconds * 1000))


def shard() -> tuple[int, int]:
    """(index, count): items index, index + count, ... are this process's share."""
    return jax.process_index(), jax.process_count()


def is_main() -> bool:
    """Whether this process prints, and writes the files of the run."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Whether the run has no other process."""
    return jax.process_count() == 1


def gather_bytes(message: bytes) -> list[bytes]:
    """Every process's message, in their order. All must call it alike.

    Any length, also none; sent in pieces, so that devices never hold more than one
    `PIECE` of each process.
    """
    if is_alone():
        return [message]
    # As two words each: jax keeps no int64.
    words = np.array([len(message)], np.int64).view(np.int32)
    lengths = multihost_utils.process_allgather(words).view(np.int64)[:, 0].tolist()
    messages = [bytearray() for _ in lengths]
    for start in range(0, max(lengths), PIECE):
        # Of few sizes: each is compiled.
        size = 1 << (max(lengths) - start - 1).bit_length()
        piece = np.zeros(min(PIECE, size), np.uint8)
        part = np.frombuffer(message[start : start + PIECE], np.uint8)
        piece[: len(part)] = part
        rows = multihost_utils.process_allgather(piece)
        for whole, row, length in zip(messages, rows, lengths, strict=True):
            whole += row[: max(length - start, 0)].tobytes()
    return [bytes(whole) for whole in messages]


def gather_arrays(tree: Tree) -> Tree:
    """Whole numpy arrays of those that lie on devices of several processes.

    Arrays that this process holds whole stay as they are. All processes must call it
    alike.
    """

    def gather(x: Any) -> Any:
        if getattr(x, "is_fully_addressable", True):
            return x
        return multihost_utils.process_allgather(x, tiled=True)

    gathered: Tree = jax.tree.map(gather, tree)
    return gathered
