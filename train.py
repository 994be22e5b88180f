"""Train UniRES: `python train.py --help`, the same as `unires train`."""

from unires_jax.scripts.train import run

if __name__ == "__main__":
    run()
