"""A comparison's table and page (comparison.json, comparison.html)."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from unires_jax import terminal
from unires_jax.evaluation.compare import Compared
from unires_jax.evaluation.evaluator import Split
from unires_jax.evaluation.folder import require_free_comparison
from unires_jax.evaluation.report import pictures
from unires_jax.evaluation.report.page import SIDE, jpeg, percent, png
from unires_jax.evaluation.results import Result
from unires_jax.files import locate, write_together
from unires_jax.pages import template


def write(
    splits: Mapping[str, Compared],
    names: tuple[str, str],
    out: str | os.PathLike[str],
    about: Mapping[str, Any],
    overwrite: bool = True,
) -> None:
    """comparison.json and comparison.html in `out`; the table on stdout.

    Raises ConfigError where `out` holds a comparison of others, unless `overwrite`.
    """
    folder = locate(out)
    body = {n: dict(counts=c.counts, levels=c.levels) for n, c in splits.items()}
    asked = {**about, "a": names[0], "b": names[1], "splits": ", ".join(splits)}
    require_free_comparison(out, asked, overwrite)
    numbers = {"about": {**about, "a": names[0], "b": names[1]}, "splits": body}
    contents = {
        "comparison.json": json.dumps(numbers, indent=2) + "\n",
        "comparison.html": _page(splits, names, about),
    }
    write_together(folder, contents)
    print_tables(splits, names, about)
    print(f"{folder / 'comparison.html'} shows where they differ most")


def print_tables(
    splits: Mapping[str, Compared],
    names: tuple[str, str],
    about: Mapping[str, Any],
    console: Console | None = None,
) -> None:
    """Both sides, b - a and its interval, in percent."""
    console = console or terminal.console()
    console.print(f"a: {names[0]}\nb: {names[1]}", highlight=False, soft_wrap=True)
    for name, compared in splits.items():
        title = f"{name}, {', '.join(str(v) for v in about.values())}"
        console.print(title, highlight=False, soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        for column in ("", "a", "b", "b - a", "95 % interval", "count"):
            table.add_column(column, justify="right")
        for level, rows in compared.levels.items():
            for row in rows.values() if compared.counts[level] else ():
                table.add_row(level, *_cells(row), str(compared.counts[level]))
        console.print(table)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    change, interval = row["difference"], row["interval"]
    points = [100 * limit for limit in interval or ()]
    return (
        row["name"],
        percent(row["a"]),
        percent(row["b"]),
        "-" if change is None else f"{100 * change:+.2f}",
        "{:+.2f} to {:+.2f}".format(*points) if points else "-",
    )


def _page(
    splits: Mapping[str, Compared], names: tuple[str, str], about: Mapping[str, Any]
) -> str:
    sections = {
        name: dict(
            tables={n: [_cells(r) for r in t.values()] for n, t in c.levels.items()},
            counts=c.counts,
            cases={
                kind: [_case(c.split, *case) for case in cases]
                for kind, cases in c.cases.items()
            },
        )
        for name, c in splits.items()
    }
    return template(
        Path(__file__).with_name("comparison.html"), percent=percent
    ).render(names=names, about=about, splits=sections)


def _case(split: Split, a: Result, b: Result) -> dict[str, Any]:
    record = split[a.image]
    layers = [png(pictures.layer(r, SIDE)) for r in (a, b)]
    image = jpeg(pictures.picture(record, SIDE))
    return {"image": image, "layers": layers, "rows": (a, b)}
