"""An evaluation's numbers on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from unires_jax import terminal
from unires_jax.evaluation import refcocom
from unires_jax.evaluation.breakdown import BLOCKS
from unires_jax.evaluation.report.page import percent


def print_tables(metrics: Mapping[str, Any], console: Console | None = None) -> None:
    """Every split's numbers, as metrics.json holds them, in percent on stdout."""
    console = console or terminal.console()
    for name, block in metrics.items():
        about = block["about"]
        title = f"{name}, protocol {about['protocol']}, {block['images']} pictures"
        title += f", {about['input']}" if "input" in about else ""
        console.print(title, highlight=False, soft_wrap=True)
        console.print(_table(block))
        console.print(_below(block), highlight=False, soft_wrap=True)


def _table(block: Mapping[str, Any]) -> Table:
    """Rows of the levels; fits 80 columns."""
    columns = dict(block["names"])
    ceilings = {"ceiling_mIoU": "ceiling", "ceiling_boundary_mIoU": "ceiling\nbIoU"}
    for column, heading in ceilings.items():
        if any(block[level][column] is not None for level in BLOCKS):
            columns[column] = heading
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("")
    for name in (*columns.values(), "count"):
        heading = name.replace("@", "\n@") if len(name) > 11 else name
        table.add_column(heading, justify="right", overflow="fold")
    for level in BLOCKS:
        numbers = [percent(block[level][c]) for c in columns]
        table.add_row(level, *numbers, str(block[level]["count"]))
    return table


def _below(block: Mapping[str, Any]) -> str:
    none, confusion = block["no_target"], block["part"]["whole_object_confusion"]
    lines = [
        f"N-acc, T-acc: no-target decision: {none}"
        if isinstance(none, str)
        else f"N-acc {percent(none['N-acc'])} ({none['no_target']} expressions), "
        f"T-acc {percent(none['T-acc'])} ({none['targeted']})",
        f"whole-object confusion {percent(confusion['share'])} "
        f"({confusion['count']} parts)",
    ]
    if (without := block["without_target"])["count"]:
        lines.append(
            f"{without['count']} of {block['expressions']} expressions have no target: "
            f"{without['rule']}"
        )
    if block["cut"]:
        lines.append(
            f"{block['cut']} of {block['expressions']} expressions have more tokens "
            "than the model reads: their ends were not read"
        )
    if block["without_polygons"]:
        lines.append(
            f"{block['without_polygons']} of {block['expressions']} expressions have "
            "no polygons, which this protocol rasterises or compares: their stored "
            "masks stand in, resized NEAREST where it has a grid"
        )
    if "refcocom" in block:
        lines += refcocom_lines(block["refcocom"])
    for level, reading in block.get("reading", {}).items():
        lines.append(
            f"reading check, {level}: mIoU {percent(reading['aligned_mIoU'])}, "
            f"deranged {percent(reading['deranged_mIoU'])} ({reading['count']} "
            "expressions)"
        )
    return "\n".join(lines) + "\n"


def refcocom_lines(block: Mapping[str, Any]) -> list[str]:
    """What is printed of a block, its warning last."""
    low, high = block["published_w"]
    text = [
        f"RefCOCOm: Part mIoU {percent(block['Part'])} ({block['parts']} expressions), "
        f"Obj & Part mIoU {percent(block['Obj & Part'])} (with {block['objects']} "
        "object expressions)",
        f"part share w {block['w']:.4f}, published {low:.4f} to {high:.4f} "
        f"(+-{refcocom.TOLERANCE})",
    ]
    if not block["agrees"]:
        text.append(
            "warning: w lies outside the published interval: these expressions are not "
            "those of the published numbers (objects or parts are missing, or --images "
            "limits the split)"
        )
    return text
