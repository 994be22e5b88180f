"""Copies on this machine of splits that lie in a bucket.

Training reads records at random, one at a time, which costs a round trip each over a
network; ArrayRecord does not read S3 at all. So the shards of a split are copied whole,
once, before its first record is read, and all processes of a machine share them.
"""

import contextlib
import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from unires_jax.errors import ConfigError, DataError
from unires_jax.files import Location, local, locate, user_cache, whole

THREADS = 8  # files copied at once; ours
CHUNK = 8 << 20  # bytes
MUCH = 1 << 20  # bytes, from which on progress is shown


def cache_folder(cache: str) -> Path:
    """`data.cache`, or where that is "" unires_jax/data in the user's cache folder.

    Raises ConfigError where the user has none.
    """
    if cache:
        return local(cache)
    home = user_cache()
    if home is None:
        raise ConfigError("this user has no home; name a folder in data.cache")
    return home / "unires_jax" / "data"


def copy_split(folder: str, split: str, cache: str = "") -> Path:
    """The folder on this machine that holds a split of a bucket's prepared folder.

    What is there in the same size is not copied again. Raises DataError where the disk
    has no room for the rest, or cannot be written.
    """
    source = locate(folder)
    target = cache_folder(cache) / folder.replace("://", "/")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"no copy can be made at {target} ({error}); set data.cache to a folder "
            "that can be written, or give --data_dir a copy",
            place=folder,
        ) from None
    with _alone(target / f".{split}.lock"):
        files = [*source.glob("*.json"), *source.glob(f"*-{split}.*")]
        with ThreadPoolExecutor(THREADS) as pool:
            lengths = pool.map(lambda file: int(file.stat().length), files)
            sizes = dict(zip(files, lengths, strict=True))
        lacking = [f for f in files if not _is_copy(target / f.name, sizes[f])]
        _require_room(target, sum(sizes[f] for f in lacking), folder)
        _copy(lacking, target, sum(sizes[f] for f in lacking), f"{folder}:{split}")
    return target


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process of this machine copies the same."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_copy(path: Path, size: int) -> bool:
    """Descriptions are small and may change without another size."""
    return path.suffix != ".json" and path.exists() and path.stat().st_size == size


def _require_room(target: Path, size: int, folder: str) -> None:
    free = shutil.disk_usage(target).free
    if size > free:
        raise DataError(
            f"{size / 1e9:.1f} GB to copy and {free / 1e9:.1f} GB free at {target}; "
            "set data.cache to a larger disk, or mount the bucket (gcsfuse, "
            "mountpoint-s3) and name the mounted path",
            place=folder,
        )


def _copy(files: list[Location], target: Path, size: int, name: str) -> None:
    with (
        tqdm(
            desc=f"copying {name} to {target}",
            total=size,
            unit="B",
            unit_scale=True,
            disable=size < MUCH,
            mininterval=1 if sys.stderr.isatty() else 30,
        ) as bar,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        for _ in pool.map(lambda f: _copy_file(f, target / f.name, bar.update), files):
            pass


def _copy_file(source: Location, path: Path, tick: Callable[[int], object]) -> None:
    with (
        source.open("rb") as read,
        whole(path) as temporary,
        temporary.open("wb") as write,
    ):
        while chunk := read.read(CHUNK):
            write.write(chunk)
            tick(len(chunk))
