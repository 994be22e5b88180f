"""A comment as help: what stands beside a setting in the source explains it to users.

Standard library only.
"""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any


def comments(definition: type | Callable[..., Any]) -> dict[str, str]:
    """The comment beside each field of a class or keyword-only argument of a function.

    "" where there is none. A definition of several lines may carry it on any of them;
    an argument must begin its line.
    """
    source = textwrap.dedent(inspect.getsource(definition))
    lines = source.splitlines()
    return {
        name: " ".join(line.partition("# ")[2] for line in lines[first:end]).strip()
        for name, first, end in _places(ast.parse(source).body[0])
        if lines[first].lstrip().startswith(name)
    }


def _places(node: ast.stmt) -> Iterator[tuple[str, int, int]]:
    """Name and range of lines, from 0, of each field or argument."""
    if isinstance(node, ast.ClassDef):
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                yield field.target.id, field.lineno - 1, field.end_lineno or 0
    elif isinstance(node, ast.FunctionDef):
        arguments = node.args
        for arg, default in zip(
            arguments.kwonlyargs, arguments.kw_defaults, strict=True
        ):
            yield arg.arg, arg.lineno - 1, (default or arg).end_lineno or 0


def meanings(cls: type, prefix: str = "") -> dict[str, str]:
    """The comment of every setting of nested dataclasses, by its dotted name."""
    texts: dict[str, str] = {}
    for field in dataclasses.fields(cls):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            texts |= meanings(field.type, f"{prefix}{field.name}.")
        else:
            texts[prefix + field.name] = comments(cls)[field.name]
    return texts
