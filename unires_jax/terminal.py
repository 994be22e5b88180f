"""What is printed: nothing that foreign text holds acts on the terminal.

Names of files, keys, sentences and the words of damaged files come from others. Every
program of ours prints through here: the streams escape what would act, and `console`
does so before rich lays out its tables and adds its own colours.
"""

import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from unires_jax.errors import printable

if TYPE_CHECKING:  # rich is slow to import
    from rich.console import Console
    from rich.text import Text

_UP = re.compile(r"\n*(?:\x1b\[A)*")  # a whole write of tqdm: to the line of its bar


class Guarded:
    """A text stream that escapes what would act, and what its encoding lacks."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.rich_proxied_file = stream  # rich writes its own escapes, of clean text

    def write(self, text: str) -> int:
        """Write it escaped; how many characters it has so."""
        if not _UP.fullmatch(text):
            # tqdm begins and ends at the start of its line.
            first, last = text.startswith("\r"), text.endswith("\r") and len(text) > 1
            inner = printable(text[first : len(text) - last], "\n\t")
            text = "\r" * first + inner + "\r" * last
        self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard() -> None:
    """Guard this process's output. What a program does before it prints anything.

    A stream that is closed (`2>&-`) leads nowhere: else the next file that is opened
    would take its place, and what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, Guarded):
            continue
        if hasattr(stream, "reconfigure"):  # a terminal of another encoding
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Guarded(stream))


def console() -> "Console":
    """A console of rich on standard output that prints texts as they are, escaped.

    No markup: names hold brackets and colons too. A `rich.text.Text` is its maker's,
    who gives it `printable` words.
    """
    from rich.console import Console

    class Escaping(Console):
        def render_str(self, text: str, **style: Any) -> "Text":
            return super().render_str(printable(text, "\n\t"), **style)

    return Escaping(markup=False, emoji=False, highlight=False)


def say_error(error: object) -> None:
    """Print an error: its first line stands alone at the margin, whatever it quotes."""
    print(f"error: {indented(str(error))}", file=sys.stderr)


def indented(text: str) -> str:
    """Text whose further lines begin with a space, so that none looks like another."""
    return re.sub(r"\n(?=\S)", "\n  ", text)


def say_no_more() -> None:
    """Let go of an output that nobody reads, so that Python's end does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
