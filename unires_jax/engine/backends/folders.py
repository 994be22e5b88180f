"""The folder of a published model, and what names its files; no library of models.

Source: ours.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from unires_jax import documents
from unires_jax.engine.roles import ModelError
from unires_jax.errors import DataError, shorten
from unires_jax.files import user_cache, write_whole

# Of a repository on the hub: weights of a format that runs no code, and no others.
_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt")
_LARGE = 1 << 26  # bytes of a file whose hash is worth keeping; ours


def find(place: str) -> Path:
    """The folder of a model: itself, or the hub's snapshot.

    Raises ModelError for a folder that is not there, and for an id that the hub or
    its cache does not give.
    """
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    if place.startswith((".", "/", "~")) or place.count("/") != 1:
        raise ModelError(f"{place}: no such folder, and no hub id (<owner>/<name>)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    try:
        return Path(snapshot_download(place, allow_patterns=list(_FILES)))
    except GatedRepoError:
        raise ModelError(
            f"{place}: its licence must be accepted on https://huggingface.co/{place}; "
            "then `hf auth login`, or give a folder"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{place}: no such folder, and the hub does not give it "
            f"({type(error).__name__}: {first_line(error)})"
        ) from None


def fingerprint_of(place: str) -> str:
    """`fingerprint` of a folder or hub id. Raises as `find`."""
    return fingerprint(find(place))


def fingerprint(folder: Path) -> str:
    """Of config.json and the weight files: 12 hex digits of SHA-256.

    Raises ModelError where one cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for path in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
            digest.update(path.name.encode())
            digest.update(file_digest(path))
    except OSError as error:
        raise ModelError(
            f"{error.filename or folder}: {error.strerror}; is it a model's folder?"
        ) from None
    return digest.hexdigest()[:12]


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file; of a large one kept in the user's cache while it is the same.

    It is the same while its size, inode and times are, also that of its last change,
    which no program sets. Raises OSError.
    """
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        stamp = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
        kept = _kept(path) if stat.st_size >= _LARGE else None
        if kept is not None:
            with contextlib.suppress(DataError, ValueError):
                known = documents.read_object(kept)
                if known.get("stamp") == stamp:
                    return bytes.fromhex(str(known.get("sha256")))
        digest = hashlib.file_digest(file, "sha256").digest()
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            content = {"file": str(path), "stamp": stamp, "sha256": digest.hex()}
            write_whole(kept, json.dumps(content))
    return digest


def _kept(path: Path) -> Path | None:
    """Where the hash of a file is kept; None for a user without a home."""
    home = user_cache()
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return home / "unires_jax" / "engine" / "hashes" / f"{name}.json" if home else None


def first_line(error: BaseException) -> str:
    """What an error of others says, in a line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shorten(lines[0], 500)
