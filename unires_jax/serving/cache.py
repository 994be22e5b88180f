"""Compiled programs kept on disk, so that the next start need not compile."""

import os
from pathlib import Path

import jax


def keep_compiled(folder: str | None = None) -> None:
    """Turn on jax's compilation cache for this process; commands do, the library not.

    None takes unires_jax in the user's cache folder; "" turns nothing on. jax itself
    warns where the folder cannot be written.
    """
    if folder is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = str(Path(home) / "unires_jax")
    if folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
