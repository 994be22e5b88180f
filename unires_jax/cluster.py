"""Which cluster a process belongs to, read off the command line and the environment.

Three values describe one: where process 0 listens, how many processes there are, and
which of them this is. They come from flags, from the variables JAX_COORDINATOR_ADDRESS,
JAX_NUM_PROCESSES and JAX_PROCESS_ID, from SLURM or from Open MPI; TPU machines and
Kubernetes are asked by jax itself. Standard library only: a description by halves is
told before jax is imported.
Sources: the variables are those of jax's own detectors and of the manuals of srun and
Open MPI.
"""

import dataclasses
import importlib.util
import re
from collections.abc import Mapping

from unires_jax.errors import UsageError

Environment = Mapping[str, str]

# Flag, variable.
COORDINATOR = ("--coordinator", "JAX_COORDINATOR_ADDRESS")
PROCESSES = ("--processes", "JAX_NUM_PROCESSES")
PROCESS = ("--process", "JAX_PROCESS_ID")

JOIN_SECONDS = 300  # that all wait for each other: machines start minutes apart

ALONE_HINT = "--processes=1 runs it alone"
_NO_SRUN = {"4294967290", "4294967291"}  # SLURM_STEP_ID of a shell, of a batch script
_FIRST_PORT, _PORTS = 61440, 4096  # jax's range


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What is known of a cluster before it is joined."""

    source: str  # who describes it; "" where nobody launched it as one of many
    processes: int | None = None  # None: jax asks the machine
    process: int | None = None
    coordinator: str = ""  # host:port of process 0
    local_devices: tuple[int, ...] | None = None  # None: all that the process sees


def describe(
    environment: Environment,
    coordinator: str = "",
    processes: int | None = None,
    process: int | None = None,
) -> Cluster:
    """The cluster of this process; the arguments are the flags, and come first.

    Raises UsageError for a description by halves, naming what is missing; for a value
    out of range; for a process that stands alone in an allocation of several.
    """
    coordinator, source = _given(coordinator, COORDINATOR, environment)
    count, count_source = _number(processes, PROCESSES, environment)
    index, index_source = _number(process, PROCESS, environment)
    sources = [s for s in (source, count_source, index_source) if s]
    if count == 1:
        return _checked(Cluster(sources[0], 1, index or 0))
    if len(sources) == 3:
        local = _slurm_devices(environment) or _open_mpi_devices(environment)
        named = " and ".join(dict.fromkeys(s.partition("=")[0] for s in sources))
        return _checked(Cluster(named, count, index, coordinator, local))
    launched = _slurm(environment) or _open_mpi(environment)
    if launched:
        return _checked(_filled(launched, coordinator, count, index))
    if sources:
        rows = (
            (*COORDINATOR, source),
            (*PROCESSES, count_source),
            (*PROCESS, index_source),
        )
        missing = [f"{flag} (or {name})" for flag, name, given in rows if not given]
        raise UsageError(
            f"a cluster is described by halves: {' and '.join(sources)} given, "
            f"{' and '.join(missing)} missing; give all three, or {ALONE_HINT}"
        )
    _check_allocation(environment)
    return _tpu(environment) or _kubernetes(environment) or Cluster("")


def _given(
    value: str, names: tuple[str, str], environment: Environment
) -> tuple[str, str]:
    """A value and who gives it, the flag before the variable; empty if neither does."""
    for name, text in zip(names, (value, environment.get(names[1], "")), strict=True):
        if text:
            return text, f"{name}={text}"
    return "", ""


def _number(
    value: int | None, names: tuple[str, str], environment: Environment
) -> tuple[int | None, str]:
    text, source = _given("" if value is None else str(value), names, environment)
    return (_int(text, source), source) if source else (None, "")


def _int(text: str, source: str) -> int:
    if not re.fullmatch(r"-?\d+", text):
        raise UsageError(f"{source}: expected a whole number")
    return int(text)


def _filled(
    launched: Cluster, coordinator: str, processes: int | None, process: int | None
) -> Cluster:
    """What a launcher says, but for what flags or variables say."""
    return dataclasses.replace(
        launched,
        coordinator=coordinator or launched.coordinator,
        processes=launched.processes if processes is None else processes,
        process=launched.process if process is None else process,
    )


def _checked(cluster: Cluster) -> Cluster:
    count, index = cluster.processes or 0, cluster.process or 0
    if count < 1:
        raise UsageError(f"{cluster.source}: {count} processes; expected at least 1")
    if not 0 <= index < count:
        raise UsageError(
            f"{cluster.source}: process {index} of {count}; they are counted from 0, "
            f"so expected 0 to {count - 1}"
        )
    if count > 1 and not re.fullmatch(r".+:\d+", cluster.coordinator):
        named = repr(cluster.coordinator) if cluster.coordinator else "nothing"
        raise UsageError(
            f"{cluster.source}: expected the coordinator as <host of process 0>:<port>"
            f", found {named}; give --coordinator (or JAX_COORDINATOR_ADDRESS)"
        )
    return cluster


def _in_slurm_step(environment: Environment) -> bool:
    """Whether srun started this process; shells on nodes have some of its variables."""
    names = ("JOB_ID", "STEP_ID", "STEP_NODELIST", "NTASKS", "PROCID")
    return (
        all(f"SLURM_{name}" in environment for name in names)
        and environment["SLURM_STEP_ID"] not in _NO_SRUN
    )


def _slurm(environment: Environment) -> Cluster | None:
    if not _in_slurm_step(environment):
        return None

    def number(name: str) -> int:
        return _int(environment[name], f"{name}={environment[name]}")

    # Its first host, of node001 | node001,other | node[001-004,007],other.
    nodes = environment["SLURM_STEP_NODELIST"]
    match = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", nodes)
    if not match:
        raise UsageError(f"SLURM_STEP_NODELIST={nodes!r}: expected names of nodes")
    step = environment["SLURM_STEP_ID"]
    salt = number("SLURM_JOB_ID") + (int(step) if step.isdigit() else 0)
    port = environment.get("JAX_COORDINATOR_PORT", _FIRST_PORT + salt % _PORTS)
    return Cluster(
        "SLURM",
        number("SLURM_NTASKS"),
        number("SLURM_PROCID"),
        f"{match[1]}{match[2] or ''}:{port}",
        _slurm_devices(environment),
    )


def _slurm_devices(environment: Environment) -> tuple[int, ...] | None:
    """The GPUs of this task: all it sees if it is alone on its node, else its share."""
    if not _in_slurm_step(environment) or "SLURM_LOCALID" not in environment:
        return None
    if "SLURM_GPUS_PER_TASK" in environment:  # bound: a task sees only its own
        return None
    tasks = _tasks_here(environment)
    gpus = environment.get("SLURM_GPUS_ON_NODE", "")
    return _share(environment, int(environment["SLURM_LOCALID"]), tasks, int(gpus or 0))


def _tasks_here(environment: Environment) -> int:
    """Tasks of the step on this node, of forms like 4 | 2(x3),1."""
    names = ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
    text = next((environment[n] for n in names if n in environment), "")
    counts = []
    for tasks, nodes in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(tasks)] * int(nodes or 1)
    node = int(environment.get("SLURM_NODEID", 0))
    if node < len(counts):
        return counts[node]
    tasks_in_all = int(environment["SLURM_NTASKS"])
    nodes_in_all = int(environment.get("SLURM_STEP_NUM_NODES", 1))
    return -(-tasks_in_all // max(nodes_in_all, 1))


def _share(
    environment: Environment, index: int, tasks: int, gpus: int
) -> tuple[int, ...] | None:
    """An equal share of the node's GPUs; None for all that the process sees."""
    if visible := environment.get("CUDA_VISIBLE_DEVICES"):
        gpus = len(visible.split(","))
    if tasks <= 1 or 0 < gpus < tasks:  # fewer than tasks: each sees only its own
        return None
    each = max(gpus // tasks, 1)
    return tuple(range(index * each, (index + 1) * each))


def _check_allocation(environment: Environment) -> None:
    """Raise UsageError for one process where SLURM gave room for several."""
    if "SLURM_JOB_ID" not in environment:
        return
    for name in ("SLURM_NTASKS", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"):
        count = environment.get(name, "1")
        if count != "1":
            raise UsageError(
                f"{name}={count}, but srun did not start this process, so it would "
                f"train alone: start it as srun python ..., or {ALONE_HINT}"
            )


def _open_mpi(environment: Environment) -> Cluster | None:
    size = environment.get("OMPI_COMM_WORLD_SIZE")
    if size is None:
        return None
    rank = environment.get("OMPI_COMM_WORLD_RANK", "")
    return Cluster(
        "Open MPI",
        _int(size, f"OMPI_COMM_WORLD_SIZE={size}"),
        _int(rank, f"OMPI_COMM_WORLD_RANK={rank}"),
        _open_mpi_coordinator(environment),
        _open_mpi_devices(environment),
    )


def _open_mpi_coordinator(environment: Environment) -> str:
    """Where mpirun runs, and a port by the job's number; Open MPI 5 does not say it."""
    # 1531576320.0;tcp://10.96.0.1,10.148.0.1:34911 | 131452108.0;tcp6://[fe80::3]:43370
    uri = environment.get("OMPI_MCA_orte_hnp_uri", "")
    match = re.match(r"(\d+)\..*?tcp6?://\[?([^,\]]+?)(?:,|\]|:\d+$)", uri)
    if not match:
        return ""
    host = f"[{match[2]}]" if ":" in match[2] else match[2]
    # The number is a multiple of 4096.
    port = _FIRST_PORT + int(match[1]) // 4096 % _PORTS
    return f"{host}:{environment.get('JAX_COORDINATOR_PORT', port)}"


def _open_mpi_devices(environment: Environment) -> tuple[int, ...] | None:
    names = ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")
    if not all(name in environment for name in names):
        return None
    rank, size = (int(environment[name]) for name in names)
    return _share(environment, rank, size, 0)


def _tpu(environment: Environment) -> Cluster | None:
    """A TPU slice whose hosts the environment names (GKE); others jax finds itself."""
    names = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
    name = next((n for n in names if environment.get(n)), None)
    if name is None:
        return None
    hosts = environment[name].split(",")
    if len(hosts) == 1:  # maybe of several slices, or no TPU at all: jax knows
        return Cluster("")
    if not environment.get("TPU_WORKER_ID", "").isdigit():
        raise UsageError(
            f"{name} names {len(hosts)} hosts, but TPU_WORKER_ID does not say which of "
            f"them this is; set it, or {ALONE_HINT}"
        )
    return Cluster("TPU")


def _kubernetes(environment: Environment) -> Cluster | None:
    """An indexed Job, whose size jax asks of the cluster's API."""
    if "KUBERNETES_SERVICE_HOST" not in environment:
        return None
    if "JOB_COMPLETION_INDEX" not in environment:
        return Cluster("", 1, 0)  # a pod of its own
    if importlib.util.find_spec("kubernetes") is None:
        raise UsageError(
            "JOB_COMPLETION_INDEX says that this is a pod of an indexed Job, but the "
            "package kubernetes, by which jax finds the others, is not installed: "
            f"pip install kubernetes, or give --coordinator, --processes and --process "
            f"({ALONE_HINT})"
        )
    return Cluster("Kubernetes")
