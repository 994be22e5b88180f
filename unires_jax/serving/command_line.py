"""What `unires predict` and `unires demo` share: their options, and how they start."""

import argparse

from unires_jax.files import user_cache
from unires_jax.serving.predictor import Predictor, load

PLACES = (
    "a run's workdir, the folder of a step, an export, or a hub id; default: the "
    "model that comes with the package, which knows drawn scenes alone"
)
SEVERAL = (
    "; the page names it by its last part, or as NAME=PLACE says. Given several times, "
    "the page has a choice of them (bundled is the default)"
)


def make_parser(
    name: str, description: str | None, *, several: bool = False
) -> argparse.ArgumentParser:
    """The parser of a command, with the options that `start` reads.

    With `several`, args.checkpoint is a list of all that are given.
    """
    parser = argparse.ArgumentParser(
        prog=f"unires {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if several:
        parser.add_argument(
            "--checkpoint", action="append", default=[], help=PLACES + SEVERAL
        )
    else:
        parser.add_argument("--checkpoint", default="", help=PLACES)
    parser.add_argument(
        "--cache",
        help="folder that keeps compiled programs, so that the next start is fast; "
        '"" keeps none; default: JAX_COMPILATION_CACHE_DIR, else unires_jax in the '
        "user's cache folder",
    )
    return parser


def start(args: argparse.Namespace) -> Predictor:
    """The model that the options name, its programs kept where they say."""
    keep_compiled(args.cache)
    return load(args.checkpoint)


def keep_compiled(folder: str | None = None) -> None:
    """Keep this process's compiled programs, and what tracing gave; commands do.

    None is JAX_COMPILATION_CACHE_DIR, else unires_jax in the user's cache folder, if
    there is one; "" keeps nothing, as JAX_ENABLE_COMPILATION_CACHE=0 does. jax itself
    warns where the folder cannot be written.
    """
    import jax

    if folder == "":
        jax.config.update("jax_enable_compilation_cache", False)
        return
    folder = folder or jax.config.values["jax_compilation_cache_dir"]
    if folder is None and (home := user_cache()):
        folder = str(home / "unires_jax")
    if folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
