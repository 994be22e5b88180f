"""What a start needs to know of all records, kept beside them: COCO ids, sentences.

Written when a data set is built. Where a folder was built without, both are taken from
the records at the first start, and kept if the folder can be written.
"""

import contextlib
import functools
import io
import json
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from unires_jax import documents
from unires_jax.data import stored
from unires_jax.data.descriptions import shard_lengths
from unires_jax.data.prepared import PreparedSplit, split_names
from unires_jax.files import Location, locate, read_bytes, write_whole

SAMPLE = 2000  # records whose sentences are kept; ours
_HEADER = 4096  # bytes of a .npy file before its numbers, at most


def coco_ids(split: PreparedSplit) -> Int64[np.ndarray, " records"]:
    """The COCO id of every record, -1 where there is none."""
    return _coco_ids(split, split.fingerprint())


def sentences(split: PreparedSplit) -> list[str]:
    """The sentences of up to `SAMPLE` records spread evenly over the split, sorted."""
    return _sentences(split, split.fingerprint())


def store(folder: str | Path) -> None:
    """Write both files of every split of a prepared folder."""
    for name in split_names(folder):
        split = PreparedSplit(str(folder), name)
        coco_ids(split), sentences(split)


def store_coco_ids(split: PreparedSplit, ids: Int64[np.ndarray, " records"]) -> None:
    """Write the COCO ids of a split by whoever knows them in the order of records."""
    _write_ids(_ids_file(split, split.fingerprint()), ids)


@functools.lru_cache(maxsize=64)
def _coco_ids(split: PreparedSplit, fingerprint: str) -> Int64[np.ndarray, " records"]:
    file = _ids_file(split, fingerprint)
    with contextlib.suppress(OSError, ValueError, MemoryError):
        count = sum(shard_lengths(file.parent, split.split))
        data = read_bytes(file, _HEADER + 8 * count)
        array = np.load(io.BytesIO(data), allow_pickle=False)
        if array.shape == (count,):
            return np.asarray(array, np.int64)
    ids = np.array([stored.coco_id(b) for b in split.stored()], np.int64)
    with contextlib.suppress(Exception):  # a folder that cannot be written is no fault
        _write_ids(file, ids)
    return ids


def _ids_file(split: PreparedSplit, fingerprint: str) -> Location:
    return locate(split.folder) / f"coco_ids-{split.split}-{fingerprint}.npy"


def _write_ids(file: Location, ids: Int64[np.ndarray, " records"]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, ids)
    write_whole(file, buffer.getvalue())


@functools.lru_cache(maxsize=64)
def _sentences(split: PreparedSplit, fingerprint: str) -> list[str]:
    file = locate(split.folder) / f"sentences-{split.split}-{fingerprint}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return [str(text) for text in documents.read(file)]
    step = max(1, -(-len(split) // SAMPLE))
    records = (split[index] for index in range(0, len(split), step))
    texts = sorted({x.sent for record in records for x in record.expressions})
    with contextlib.suppress(Exception):  # a folder that cannot be written is no fault
        write_whole(file, json.dumps(texts))
    return texts
