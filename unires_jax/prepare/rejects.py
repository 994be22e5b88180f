"""What cannot be converted: counted, written down, and fatal beyond a share."""

import json
from pathlib import Path

from unires_jax import limits
from unires_jax.errors import DataError
from unires_jax.files import naming
from unires_jax.prepare.notes import Notes

REJECTED = "rejected.jsonl"
MAX_BAD_SHARE = 0.001  # as in training; ours


class Rejects:
    """Counts unusable entries against all that were announced.

    With a path, each is a line `{"record", "reason"}` there; a file of an earlier run
    is replaced. `notes` takes what is told of the entries beside that.
    """

    def __init__(
        self, path: str | Path | None = None, share: float = MAX_BAD_SHARE
    ) -> None:
        self.path, self.notes = Path(path) if path else None, Notes()
        self.share, self.total, self.count, self._last = share, 0, 0, ""
        self._held = 0
        if self.path:
            self.path.unlink(missing_ok=True)

    def expect(self, entries: int) -> None:
        """Announce entries that are about to be read."""
        self.total += entries

    def hold(self, size: int) -> None:
        """Announce so many bytes of an entry that is kept.

        Raises DataError beyond limits.REFERENTS_MEMORY of all.
        """
        self._held += size
        if self._held > limits.REFERENTS_MEMORY:
            raise DataError(
                f"its masks and sentences take {self._held >> 20} MB, the limit is "
                f"{limits.REFERENTS_MEMORY >> 20} MB; convert the splits apart"
            )

    def add(self, record: str, error: DataError) -> None:
        """Note an unusable entry and check."""
        self.note(record, error)
        self.check()

    def note(self, record: str, error: DataError) -> None:
        """Count and write down an unusable entry while others are still announced."""
        self.count += 1
        self._last = str(error.at(record))
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with naming(self.path), self.path.open("a", encoding="utf-8") as file:
                line = {"record": record, "reason": str(error)}
                file.write(json.dumps(line) + "\n")

    def check(self) -> None:
        """Raise DataError when they are more than the share of all announced."""
        if self.count > self.share * self.total:
            raise DataError(
                f"{self.count} of {self.total} entries cannot be used, more than "
                f"max_bad_share={self.share} allows (list: {self.path or 'not kept'}). "
                f"The last: {self._last}. Mend the files or raise max_bad_share"
            )

    def summary(self) -> str:
        """One line for the user; "" if nothing was rejected."""
        if not self.count:
            return ""
        return f"skipped {self.count} of {self.total} entries; reasons: {self.path}"
