"""Train UniRES.

    python train.py --config=configs/quickstart.py --workdir=runs/quickstart
    python train.py --config=configs/quickstart.py --config.train.batch=8
    unires train --config=quickstart        # the same where the package is installed

A workdir that holds a run is resumed: the same command goes on where it stopped. Two
runs in one workdir are refused. With --dry_run it says what each device would hold, and
ends; no data is read.

TPU pods, GKE, SLURM (srun) and Open MPI describe their clusters themselves: start the
same command on every host. Elsewhere give each process all three of

    --coordinator=<host of process 0>:<port> --processes=<how many> --process=<from 0>

or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.

Exit codes: 0 finished; 1 an error, told; 2 a wrong command line, or a cluster described
by halves; 75 stopped by SIGTERM (or a notice of preemption) and saved: the same command
goes on.
"""

import contextlib

from absl import flags

from unires_jax import app
from unires_jax.config import Config

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run; default: runs/<name>")
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "print parameters, sharding, bytes and batch, and end"
)


def main(config: Config) -> int:
    """Join the cluster and train in a workdir of one's own. Returns the exit code."""
    app.join_cluster()
    from unires_jax import hosts, lock

    if DRY_RUN.value:
        return _describe(config)
    workdir = WORKDIR.value or f"runs/{config.name}"
    with lock.hold(workdir) if hosts.member() == 0 else contextlib.nullcontext():
        return _train(config, workdir)


def _describe(config: Config) -> int:
    """What the run would hold on each device."""
    from unires_jax import hosts
    from unires_jax.mesh import make_mesh
    from unires_jax.training import dry_run
    from unires_jax.training.recipe import make_recipe

    if hosts.is_main():
        print(dry_run.describe(make_recipe(config, make_mesh(config.mesh))))
    return 0


def _train(config: Config, workdir: str) -> int:
    """See that all processes are about to do the same, then train and evaluate."""
    from unires_jax import hosts
    from unires_jax.data.pipeline import run_tokenizer
    from unires_jax.evaluation.in_training import make_evaluate
    from unires_jax.mesh import make_mesh
    from unires_jax.training.agreement import agree
    from unires_jax.training.progress_log import say
    from unires_jax.training.recipe import make_recipe
    from unires_jax.training.trainer import fit

    tokenizer = run_tokenizer(config)
    agree(config, tokenizer, workdir)
    say(hosts.describe_devices())
    evaluate = make_evaluate(config, tokenizer)
    state = fit(
        make_recipe(config, make_mesh(config.mesh)), workdir, tokenizer, evaluate
    )
    return app.STOPPED if int(state.step) < config.train.steps else 0


def run() -> None:
    """Answer the command line."""
    app.run(main)
