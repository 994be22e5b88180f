"""Score referring segmentation: `python evaluate.py --help`, or `unires evaluate`."""

from unires_jax.scripts.evaluate import run

if __name__ == "__main__":
    run()
