"""Records that training cannot use: skipped, written down, and fatal beyond a share."""

import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from unires_jax.config import Config
from unires_jax.errors import DataError

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
        workdir: str | Path | None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        """Go on from the files of earlier runs in `workdir`, of any process count."""
        self._folder = Path(workdir) if workdir else None
        self._process, self._alone = shard[0], shard[1] == 1
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
            log.warning("skipped %s: %s", name, reason)
            self._write({"record": name, "reason": reason})
        if self._alone:
            self._check(f"The last: {name}: {reason}")

    def agree(self, gather: Callable[[bytes], list[bytes]]) -> None:
        """Count those of all processes, which call this alike, and raise alike.

        `gather` brings everyone's message to everyone. A record that several processes
        met counts once.
        """
        message = json.dumps([[n, self._reasons[n]] for n in self._unsent]).encode()
        self._unsent = []
        for process, told in enumerate(map(json.loads, gather(message))):
            self._met[process] += sum(name not in self._earlier for name, _ in told)
            for name, reason in told:
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
        reasons = {}
        for file in (
            sorted(self._folder.glob("rejected*.jsonl")) if self._folder else []
        ):
            for line in file.read_text().splitlines():
                with contextlib.suppress(ValueError):  # cut short by a kill
                    entry = json.loads(line)
                    reasons[entry["record"]] = entry["reason"]
        return reasons

    def _write(self, entry: dict[str, str]) -> None:
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)
            p = self._process
            file = REJECTED if p == 0 else f"rejected-{p}.jsonl"
            with (self._folder / file).open("a") as lines:
                lines.write(json.dumps(entry) + "\n")
