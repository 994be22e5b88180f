"""Reports of steps as a table for people, and as JSON for programs."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from unires_jax.aot.report import Parameter, StepReport
from unires_jax.training.chips import GIB, Chip

GB = 1e9
NAMED = 3  # parameters of a collective in the table
LISTED = 12  # collectives of a step in the table; the JSON has all


def table(reports: Sequence[StepReport], chip: Chip) -> str:
    """A column a step, then what its memory and its traffic consist of."""
    rows = [("a chip", [r.name for r in reports]), *_rows(reports, chip)]
    left = max(len(title) for title, _ in rows)
    lines = [
        title.ljust(left) + "".join(cell.rjust(14) for cell in cells)
        for title, cells in rows
    ]
    for report in reports:
        lines += ["", *_details(report)]
    return "\n".join(lines)


def _rows(reports: Sequence[StepReport], chip: Chip) -> Iterator[tuple[str, list[str]]]:
    def row(title: str, cell: Any) -> tuple[str, list[str]]:
        return title, ["-" if r.refusal else cell(r) for r in reports]

    def milliseconds(key: str) -> Any:
        return lambda r: f"{1e3 * r.seconds(chip)[key]:.1f}"

    def over(r: StepReport, bound: int) -> str:
        return f"{r.traffic / bound:.2f}" if bound else "-"

    yield "fits", ["yes" if r.fits(chip) else "NO" for r in reports]
    yield row("memory, GiB", lambda r: f"{r.memory.total / GIB:.2f}")
    yield row(
        f"  of {chip.hbm_bytes / GIB:.0f} GiB, %",
        lambda r: f"{100 * r.memory.total / chip.hbm_bytes:.0f}",
    )
    for field in dataclasses.fields(reports[0].memory):
        yield row(
            f"  {field.name}",
            lambda r, name=field.name: f"{getattr(r.memory, name) / GIB:.2f}",
        )
    yield row("model TFLOP", lambda r: f"{r.model_flops / 1e12:.3f}")
    yield row("compiled / model FLOPs", lambda r: f"{r.hlo_flops / r.model_flops:.3f}")
    yield row("bytes accessed, GB", lambda r: f"{r.bytes_accessed / GB:.2f}")
    yield row("ms at the chip's FLOPs", milliseconds("hlo_flops"))
    yield row("ms at its bandwidth", milliseconds("bytes"))
    yield row("MFU at most, %", lambda r: f"{100 * r.mfu_ceiling(chip):.0f}")
    yield row("collectives, GB", lambda r: f"{r.traffic / GB:.3f}")
    yield row("  of gathering once", lambda r: over(r, r.gather_once))
    yield row("  of gathering twice", lambda r: over(r, r.gather_twice))
    yield "compiled in, CPU s", [f"{r.compile_seconds:.0f}" for r in reports]


def _details(report: StepReport) -> Iterator[str]:
    if report.refusal:
        yield f"{report.name}: the compiler refuses it:"
        yield f"  {report.refusal}"
        yield "  --config.train.accumulation and --config.model.remat=full need less"
        return
    yield f"{report.name}: its largest arrays (not all there at once)"
    for value in report.largest:
        yield (
            f"  {value.bytes / GB:8.3f} GB x {value.copies:<4} "
            f"{value.dtype}{list(value.shape)}  {value.origin}"
        )
    groups = traffic(report)
    if not groups:
        return
    yield f"{report.name}: its collectives"
    for line in groups[:LISTED]:
        names = line["parameters"]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield (
            f"  {line['gb']:8.3f} GB  {line['kind']} {line['dtype']}{line['shape']} "
            f"x {line['times']} of {line['devices']}  {', '.join(names[:NAMED])}{more}"
        )
    if rest := groups[LISTED:]:
        gb = sum(line["gb"] for line in rest)
        yield f"  {gb:8.3f} GB  in {len(rest)} other kinds"


def traffic(report: StepReport) -> list[dict[str, Any]]:
    """Collectives of one kind, array and group size together, the costliest first.

    `parameters` are those of that shape, which it most likely carries.
    """
    times: dict[tuple[Any, ...], int] = defaultdict(int)
    size: dict[tuple[Any, ...], float] = defaultdict(float)
    for c in report.collectives:
        key = (c.kind, c.whole.dtype, c.whole.shape, c.devices)
        times[key] += c.times
        size[key] += c.bytes
    names = _names_by_shape(report.parameters)
    return [
        {
            "kind": key[0],
            "dtype": key[1],
            "shape": list(key[2]),
            "devices": key[3],
            "times": times[key],
            "gb": size[key] / GB,
            "parameters": names.get(key[2], []),
        }
        for key in sorted(size, key=lambda k: -size[k])
    ]


def _names_by_shape(
    parameters: Sequence[Parameter],
) -> dict[tuple[int, ...], list[str]]:
    """Names of the parameters of each shape, and of each share; numbers as `*`."""
    names: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for parameter in parameters:
        name = re.sub(r"\b\d+\b", "*", parameter.name)
        kinds = {parameter.shard: f"{name} (share)", parameter.shape: name}
        for shape, kind in kinds.items():
            if kind not in names[shape]:
                names[shape].append(kind)
    return names


def as_json(reports: Sequence[StepReport], chip: Chip) -> list[dict[str, Any]]:
    """What the table says and all collectives, in bytes, FLOPs and seconds."""
    return [
        {
            "step": r.name,
            "fits": r.fits(chip),
            "refusal": r.refusal,
            "memory": dataclasses.asdict(r.memory) | {"total": r.memory.total},
            "memory_share": r.memory.total / chip.hbm_bytes,
            "model_flops": r.model_flops,
            "compiled_flops": r.hlo_flops,
            "bytes_accessed": r.bytes_accessed,
            "seconds": r.seconds(chip),
            "mfu_ceiling": r.mfu_ceiling(chip),
            "collective_bytes": r.traffic,
            "gather_once_bytes": r.gather_once,
            "gather_twice_bytes": r.gather_twice,
            "collectives": traffic(r),
            "largest_arrays": [v._asdict() | {"bytes": v.bytes} for v in r.largest],
            "compile_cpu_seconds": r.compile_seconds,
        }
        for r in reports
    ]
