"""build_summary.json: what a build read, kept, passed over and left out."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unires_jax.files import write_whole
from unires_jax.prepare.rejects import Rejects

FILE = "build_summary.json"


def files(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Files that were read: absolute path and bytes of each."""
    return [
        {"path": os.path.abspath(path), "bytes": Path(path).stat().st_size}
        for path in paths
        if Path(path).is_file()
    ]


def write(folder: str | Path, summary: Mapping[str, Any], rejects: Rejects) -> None:
    """Write the file into a prepared folder.

    `summary` says what was read; `rejects` gives the entries, those that were refused
    (named in rejected.jsonl), and the notes.
    """
    counts = {"entries": rejects.total, "rejected": rejects.count}
    content = {**summary, **counts, "notes": rejects.notes.to_json()}
    write_whole(Path(folder) / FILE, json.dumps(content, indent=1) + "\n")
