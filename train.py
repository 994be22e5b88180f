"""Train UniRES.

    python train.py --config=configs/quickstart.py --workdir=runs/quickstart
    python train.py --config=configs/quickstart.py --config.train.batch=8

A workdir that holds a run is resumed: the same command goes on where it stopped.
With --dry_run it says what each device would hold, and ends; no data is read.
"""

from absl import flags

from unires_jax import app
from unires_jax.config import Config

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run; default: runs/<name>")
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "print parameters, sharding, bytes and batch, and end"
)


def main(config: Config) -> None:
    """Start the devices, then train, evaluating on the way."""
    from unires_jax import hosts
    from unires_jax.data.pipeline import run_tokenizer
    from unires_jax.evaluation.in_training import make_evaluate
    from unires_jax.mesh import make_mesh
    from unires_jax.training import dry_run
    from unires_jax.training.recipe import make_recipe
    from unires_jax.training.trainer import fit

    hosts.join_cluster()
    if DRY_RUN.value:
        if hosts.is_main():
            print(dry_run.describe(make_recipe(config, make_mesh(config.mesh))))
        return
    workdir = WORKDIR.value or f"runs/{config.name}"
    tokenizer = run_tokenizer(config)
    evaluate = make_evaluate(config, tokenizer)
    fit(make_recipe(config, make_mesh(config.mesh)), workdir, tokenizer, evaluate)


if __name__ == "__main__":  # the data readers import this file again
    app.run(main)
