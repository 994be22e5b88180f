"""The same shards written under Apache Beam, on whatever runner its options name."""

from collections.abc import Sequence
from pathlib import Path

from unires_jax.errors import DataError
from unires_jax.prepare import shards as sharded
from unires_jax.prepare.shards import Shard


def convert(
    shards: Sequence[Shard], folder: Path, allowed: int, options: Sequence[str]
) -> None:
    """Write every shard that is not done yet with Beam.

    `options` are Beam's own, e.g. `--runner=FlinkRunner --flink_master=host:8081`; the
    folder and the raw files must have the same path on all machines. Raises DataError
    if Beam is not installed, no runner is named, or too many lines are unusable.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise DataError(
            "--beam needs Apache Beam: pip install 'unires_jax[beam]'"
        ) from None
    if not any(o.startswith("--runner=") for o in options):
        raise DataError(
            f"--beam={' '.join(options)!r} names no runner; begin with e.g. "
            "--runner=FnApiRunner (this machine), DataflowRunner, FlinkRunner"
        )
    todo = sharded.clean(shards)
    try:
        with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            _ = (
                pipeline
                | beam.Create(todo)
                | beam.Reshuffle()  # else one worker gets all
                | beam.Map(sharded.write, allowed)
            )
    except Exception:  # a runner wraps what its workers raise in types of its own
        sharded.refuse(shards, folder, allowed)
        raise
    sharded.refuse(shards, folder, allowed)
