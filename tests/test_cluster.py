"""Clusters as flags and environments describe them, by halves too."""

import pytest

from unires_jax.cluster import Cluster, describe
from unires_jax.errors import UsageError

VARIABLES = {
    "JAX_COORDINATOR_ADDRESS": "a:99",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}
SLURM = {  # what srun sets: four tasks, one a node, eight GPUs in each
    "SLURM_JOB_ID": "5000",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "gpu[003-005,009]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "2",
    "SLURM_STEP_NUM_NODES": "4",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
    "SLURM_GPUS_ON_NODE": "8",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
}
GKE = {
    "TPU_WORKER_HOSTNAMES": "t-0,t-1",
    "TPU_WORKER_ID": "1",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "JOB_COMPLETION_INDEX": "1",
}


def test_nobody_describes_one() -> None:
    assert describe({}) == Cluster("")
    assert describe({}, processes=1).processes == 1
    # Alone, whatever the launcher says.
    assert describe({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4"}, processes=1) == (
        Cluster("--processes=1", 1, 0)
    )


def test_flags_come_before_variables() -> None:
    assert describe(VARIABLES) == Cluster(
        "JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES and JAX_PROCESS_ID", 4, 3, "a:99"
    )
    flagged = describe(VARIABLES, "b:1", 2, 0)
    assert flagged == Cluster(
        "--coordinator and --processes and --process", 2, 0, "b:1"
    )
    assert describe(VARIABLES, process=0).process == 0


@pytest.mark.parametrize("name", VARIABLES)
def test_half_a_description_names_the_other_half(name: str) -> None:
    flag = {
        "JAX_COORDINATOR_ADDRESS": "--coordinator",
        "JAX_NUM_PROCESSES": "--processes",
        "JAX_PROCESS_ID": "--process",
    }[name]
    rest = {k: v for k, v in VARIABLES.items() if k != name}
    with pytest.raises(UsageError, match=rf"{flag} \(or {name}\) missing") as caught:
        describe(rest)
    assert all(f"{k}={v}" in str(caught.value) for k, v in rest.items())
    with pytest.raises(UsageError, match=f"{name}={VARIABLES[name]} given") as caught:
        describe({name: VARIABLES[name]})
    assert str(caught.value).count("(or JAX_") == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"JAX_PROCESS_ID": "4"}, "process 4 of 4; .*expected 0 to 3"),
        ({"JAX_PROCESS_ID": "-1"}, "process -1 of 4"),
        ({"JAX_NUM_PROCESSES": "0"}, "0 processes; expected at least 1"),
        ({"JAX_NUM_PROCESSES": "four"}, "JAX_NUM_PROCESSES=four: expected a whole num"),
        ({"JAX_COORDINATOR_ADDRESS": "a"}, "<host of process 0>:<port>, found 'a'"),
    ],
)
def test_values_that_cannot_be(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        describe(VARIABLES | changes)


@pytest.mark.parametrize(
    ("changes", "devices"),
    [
        ({}, None),  # alone on its node: all of them
        ({"SLURM_LOCALID": "3", "SLURM_STEP_TASKS_PER_NODE": "8(x4)"}, (3,)),
        ({"SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "1(x2),2"}, (4, 5, 6, 7)),
        # Bound by SLURM: each task sees its own alone.
        ({"SLURM_STEP_TASKS_PER_NODE": "4", "CUDA_VISIBLE_DEVICES": "2"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "4(x4)", "SLURM_GPUS_PER_TASK": "2"}, None),
    ],
)
def test_slurm_shares_the_gpus_of_a_node(
    changes: dict[str, str], devices: tuple[int, ...] | None
) -> None:
    assert describe(SLURM | changes) == Cluster("SLURM", 4, 2, "gpu003:62344", devices)


def test_slurms_first_host() -> None:
    for nodes, host in (("n1", "n1"), ("n1,n2", "n1"), ("n[07,09-12],b", "n07")):
        described = describe(SLURM | {"SLURM_STEP_NODELIST": nodes})
        assert described.coordinator == f"{host}:62344"
    described = describe(SLURM, coordinator="a:7")  # the launcher gives the rest
    assert (described.coordinator, described.process) == ("a:7", 2)


def test_one_process_in_an_allocation_of_several_is_told() -> None:
    batch = {"SLURM_JOB_ID": "5", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
    shell = SLURM | {"SLURM_STEP_ID": "4294967290"}  # salloc's own step
    editor = {k: v for k, v in SLURM.items() if k != "SLURM_STEP_ID"}  # a node's shell
    nodes = {"SLURM_JOB_ID": "5", "SLURM_NNODES": "2"}
    for environment in (batch, shell, editor, nodes):
        with pytest.raises(UsageError, match="srun did not start this process"):
            describe(environment)
    assert describe({"SLURM_JOB_ID": "5", "SLURM_NTASKS": "1"}) == Cluster("")


def test_open_mpi() -> None:
    expected = Cluster("Open MPI", 2, 1, "10.96.0.1:62624")
    assert describe(OPEN_MPI) == expected
    shared = {"OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
    gpus = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    assert describe(OPEN_MPI | shared | gpus).local_devices == (2, 3)
    ipv6 = {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp6://[fe80::b9b,26:3]:43370"}
    assert describe(OPEN_MPI | ipv6).coordinator == "[fe80::b9b]:62624"
    later = {k: v for k, v in OPEN_MPI.items() if not k.startswith("OMPI_MCA")}
    with pytest.raises(UsageError, match="found nothing; give --coordinator"):
        describe(later)
    assert describe(later, coordinator="a:7").coordinator == "a:7"


def test_tpu_slices_and_kubernetes() -> None:
    assert describe(GKE) == Cluster("TPU")
    assert describe({"TPU_WORKER_HOSTNAMES": "localhost"}) == Cluster("")
    with pytest.raises(UsageError, match="names 2 hosts, but TPU_WORKER_ID"):
        describe({"TPU_WORKER_HOSTNAMES": "t-0,t-1"})
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert describe(pod).processes == 1
    with pytest.raises(UsageError, match="pip install kubernetes"):
        describe(pod | {"JOB_COMPLETION_INDEX": "0"})
