"""The same shards written under Apache Beam, on whatever runner its options name."""

from collections.abc import Sequence

from unires_jax.errors import DataError
from unires_jax.prepare import shards
from unires_jax.prepare.shards import Ledger, Shard


def run(
    ledger: Ledger, options: Sequence[str], *, todo: Sequence[Shard] | None = None
) -> None:
    """Write shards with Beam: `todo`, or all that are not done yet.

    `options` are Beam's own, e.g. `--runner=FlinkRunner --flink_master=host:8081`; the
    folder and the raw files must have the same path on all machines. Raises DataError
    if Beam is not installed, no runner is named or one that it does not know, or too
    many entries are unusable.
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
    todo = ledger.unfinished() if todo is None else todo
    try:
        pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    except (ValueError, ImportError, AttributeError) as error:  # no such runner
        raise DataError(f"--beam={' '.join(options)!r}: {error}") from None
    try:
        with pipeline:
            _ = (
                pipeline
                | beam.Create(todo)
                | beam.Reshuffle()  # else one worker gets all
                | beam.Map(shards.write, ledger.allowed)
            )
    except Exception:  # a runner wraps what its workers raise in types of its own
        ledger.check()
        raise
    ledger.check()
