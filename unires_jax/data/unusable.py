"""Records that training cannot use: skipped, written down, and fatal beyond a share."""

import contextlib
import json
import logging
import os
from collections.abc import Callable

from unires_jax.config import Config
from unires_jax.errors import DataError, printable
from unires_jax.files import LineWriter, locate

REJECTED = "rejected.jsonl"

log = logging.getLogger(__name__)


class UnusableRecords:
    """Counts distinct unusable records, writes them down, and stops at the limit.

    Each process of a run holds one and writes a file of its own. One alone stops at
    once; several stop together, where they `agree`.
    """

    def __init__(
        self,
        config: Config,
        total: int,
        workdir: str | os.PathLike[str] | None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        """Go on from the files of earlier runs in `workdir`, of any process count."""
        process, count = shard
        file = REJECTED if process == 0 else f"rejected-{process}.jsonl"
        self._folder = locate(workdir) if workdir else None
        self._lines = LineWriter(self._folder / file) if self._folder else None
        self._alone = count == 1
        self._share, self._total = config.data.max_bad_share, total
        self._reasons = self._read()  # by name
        self._earlier = set(self._reasons)
        self._unsent = list(self._reasons)
        self._met = [0] * shard[1]  # by each process since the start

    def add(self, name: str, reason: str) -> None:
        """Note an unusable record.

        Raises DataError beyond `data.max_bad_share` of all records, if alone.
        """
        if name not in self._reasons:
            self._reasons[name] = reason
            self._unsent.append(name)
            log.warning("skipped %s: %s", printable(name), printable(reason))
            if self._lines:
                self._lines.write(json.dumps({"record": name, "reason": reason}))
        if self._alone:
            self._check(f"The last: {name}: {reason}")

    def agree(self, gather: Callable[[bytes], list[bytes]]) -> None:
        """Count those of all processes, which call this alike, and raise alike.

        `gather` brings everyone's message to everyone. A record that several processes
        met counts once.
        """
        message = json.dumps([[n, self._reasons[n]] for n in self._unsent]).encode()
        self._unsent = []
        for process, rows in enumerate(map(json.loads, gather(message))):
            self._met[process] += sum(name not in self._earlier for name, _ in rows)
            for name, reason in rows:
                self._reasons.setdefault(name, reason)
        counts = [f"{n} by process {p}" for p, n in enumerate(self._met) if n]
        self._check(f"Met since the start: {', '.join(counts) or 'none'}")

    def _check(self, where: str) -> None:
        if len(self._reasons) > self._share * self._total:
            raise DataError(
                f"{len(self._reasons)} of {self._total} records are unusable, more "
                f"than data.max_bad_share={self._share} allows (list: "
                f"{self._folder / 'rejected*.jsonl' if self._folder else 'in the log'})"
                f". {where}. Mend the data or raise data.max_bad_share"
            )

    def _read(self) -> dict[str, str]:
        folder, reasons = self._folder, {}
        for file in sorted(folder.glob("rejected*.jsonl")) if folder else []:
            for line in file.read_text().splitlines():
                with contextlib.suppress(ValueError):  # cut short by a kill
                    entry = json.loads(line)
                    reasons[entry["record"]] = entry["reason"]
        return reasons
