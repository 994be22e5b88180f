"""What `unires doctor` says: a report, as tables and as JSON."""

import dataclasses
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unires_jax import terminal
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.errors import printable
from unires_jax.prepare.doctor.checks import ERROR, Finding


@dataclasses.dataclass
class Holding:
    """A data set that the folder holds, in one form."""

    name: str
    form: str
    files: list[str]
    splits: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Report:
    """What was found."""

    folder: str
    holdings: list[Holding]
    findings: list[Finding]

    @property
    def errors(self) -> int:
        """How many faults make the data unfit."""
        return sum(f.count for f in self.findings if f.severity == ERROR)

    def to_json(self) -> dict[str, Any]:
        """As plain containers."""
        return {**dataclasses.asdict(self), "errors": self.errors}


def print_report(report: Report, console: Console | None = None) -> None:
    """Two tables: what is there, and what is wrong."""
    console = console or terminal.console()
    console.print(_holdings(report))
    console.print(_faults(report) if report.findings else "Nothing is wrong.")


def _holdings(report: Report) -> Table:
    title = f"What {printable(report.folder)} holds"
    table = Table(title=title, title_justify="left")
    table.add_column("split, form", no_wrap=True)
    for column in ("images", "refs", "sents", "masks"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("published", overflow="fold")
    for holding in report.holdings:
        row = BENCHMARKS.get(holding.name)
        for split, counts in holding.splits.items():
            name = f"{holding.name}/{split}\n{holding.form}"
            fields = ("images", "referents", "expressions", "masks")
            numbers = [f"{counts[n]:,}" for n in fields]
            published = row.counts.get(split) if row else None
            words = published.describe() if published else ""
            table.add_row(name, *numbers, words)
        if not holding.splits:
            table.add_row(f"{holding.name}\n{holding.form}", *"----", "")
    return table


def _faults(report: Report) -> Table:
    errors = f"{report.errors:,} error{'s' * (report.errors != 1)}"
    table = Table(title=errors, show_lines=True, title_justify="left")
    table.add_column("fault", overflow="fold")
    table.add_column("times", justify="right")
    table.add_column("the first", overflow="fold", ratio=1)
    for f in report.findings:
        style = "red" if f.severity == ERROR else "yellow"
        fault = Text(f"{f.severity}: {f.kind}", style).append(
            f"\n{printable(f.where)}", "default"
        )
        first = "\n".join(map(terminal.indented, f.examples))
        table.add_row(fault, f"{f.count:,}", first)
    return table
