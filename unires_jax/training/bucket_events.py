"""TensorBoard's event files in buckets, by way of epath as all else in them.

tensorboardX's own way asks for boto3 or google-cloud-storage and other settings.
"""

import io
import logging

from tensorboardX import record_writer

from unires_jax.files import BUCKETS, write_whole

log = logging.getLogger(__name__)


def register() -> None:
    """Make tensorboardX write `gs://` and `s3://` this way."""
    for scheme in BUCKETS:
        record_writer.register_writer_factory(scheme, _Factory())


class EventObject:
    """An event file that is kept in memory and written whole at each flush.

    tensorboardX flushes every two minutes and at the end.
    """

    def __init__(self, path: str) -> None:
        self._path, self._content, self._written = path, io.BytesIO(), 0

    def write(self, record: bytes) -> None:
        """Add to the file."""
        self._content.write(record)

    def flush(self) -> None:
        """Write the object if there is anything new."""
        content = self._content.getvalue()
        if len(content) == self._written:
            return
        try:
            write_whole(self._path, content)
        except Exception as error:  # of any client; a dead thread would block the run
            log.warning("%s: not written, tried again later: %s", self._path, error)
            return
        self._written = len(content)

    def close(self) -> None:
        """Write what is left."""
        self.flush()


class _Factory:
    """What tensorboardX asks for a scheme."""

    def open(self, path: str) -> EventObject:
        return EventObject(path)

    def directory_check(self, path: str) -> None:
        """Buckets have no folders to make."""
