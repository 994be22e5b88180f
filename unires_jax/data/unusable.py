"""Records that training cannot use: skipped, written down, and fatal beyond a share."""

import json
import logging
import os

from unires_jax.config import Config
from unires_jax.errors import DataError
from unires_jax.files import LineWriter, locate

REJECTED = "rejected.jsonl"

log = logging.getLogger(__name__)


class UnusableRecords:
    """Counts distinct unusable records, writes them down, and stops at the limit."""

    def __init__(
        self,
        config: Config,
        total: int,
        workdir: str | os.PathLike[str] | None,
        process: int = 0,
    ) -> None:
        """Go on from the file of an earlier run in `workdir`, if there is one."""
        file = REJECTED if process == 0 else f"rejected-{process}.jsonl"
        self._path = locate(workdir) / file if workdir else None
        self._lines = LineWriter(self._path) if self._path else None
        self._share, self._total = config.data.max_bad_share, total
        self._names: set[str] = set()
        if self._path and self._path.exists():
            lines = self._path.read_text().splitlines()
            self._names = {json.loads(line)["record"] for line in lines}

    def add(self, name: str, reason: str) -> None:
        """Note an unusable record.

        Raises DataError beyond `data.max_bad_share` of all records.
        """
        if name not in self._names:
            self._names.add(name)
            log.warning("skipped %s: %s", name, reason)
            if self._lines:
                self._lines.write(json.dumps({"record": name, "reason": reason}))
        if len(self._names) > self._share * self._total:
            raise DataError(
                f"{len(self._names)} of {self._total} records are unusable, more than "
                f"data.max_bad_share={self._share} allows (list: "
                f"{self._path or 'in the log'}). The last: {name}: {reason}. Mend the "
                "data or raise data.max_bad_share"
            )
