"""The errors of unires_jax. Standard library only."""

import enum
import re
from typing import TypeVar

NO_MEMORY = "there is too little free memory; close other programs, or ask for less"

_Error = TypeVar("_Error", bound="UserError")


class Kind(enum.StrEnum):
    """What is wrong with data, as `unires doctor` counts it."""

    ENCODING = "UTF-8"
    FILE_MISSING = "file missing"
    IMAGE_ABSENT = "image absent"
    IMAGE_UNREADABLE = "image unreadable"
    SENTENCE_EMPTY = "sentence empty"
    MASK_EMPTY = "mask empty"
    ID_TWICE = "id twice"
    ORIENTATION = "EXIF orientation"
    SIZE_DIFFERS = "size differs"
    UNUSABLE = "unusable"  # anything else


class UserError(ValueError):
    """Something the user gave cannot be used. The message is meant for them."""

    def __init__(self, text: str, *, place: str = "", kind: Kind = Kind.UNUSABLE):
        """`place`: file, record and field; `text`: what is wrong, and the remedy."""
        super().__init__(text)
        self.text, self.place, self.kind = text, place, kind

    def __str__(self) -> str:
        """What is printed: foreign text in it neither acts nor floods."""
        text = _lines(self.text)
        return f"{shorten(self.place, PLACE)}: {text}" if self.place else text

    def at(self: _Error, place: str) -> _Error:
        """The same fault, seen from further out: `raise error.at(path) from None`."""
        inner = f"{place}: {self.place}" if self.place else place
        if self.place == place or self.place.startswith(f"{place}:"):
            inner = self.place  # which names it already
        return type(self)(self.text, place=inner, kind=self.kind)


class ConfigError(UserError):
    """A setting that cannot work. The message names the field and the remedy."""


class UsageError(ConfigError):
    """A command line or an environment that cannot be started: exit code 2."""


class ClusterError(UserError):
    """Processes that cannot work together. The message names them and what differs."""


class DataError(UserError):
    """Data that cannot be used. The message names file or record, field and remedy."""


class WeightsError(UserError):
    """Pretrained weights that cannot be used. The message lists every fault."""


class CheckpointError(UserError):
    """A checkpoint that cannot be used. The message names it, the cause, the remedy."""


class TrainingError(UserError):
    """The run cannot go on. The message names the step and the group of parameters."""


# What acts on a terminal or hides text on it: control characters (C0, C1), marks of
# direction and of no width, ends of lines and paragraphs, lone surrogates, tags.
# Joiners (U+200C, U+200D) stay: scripts and emoji are made with them.
_ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
PLACE, LINE, LINES = 1000, 4000, 1000  # of an error; characters, and lines; ours


def printable(text: str, keep: str = "") -> str:
    """Foreign text as it may be shown: what would act on a terminal is escaped.

    An escape character becomes `\\x1b`, as Python writes it. The characters of `keep`
    stay, e.g. the ends of lines.
    """
    return _ACTING.sub(
        lambda x: x[0] if x[0] in keep else x[0].encode("unicode_escape").decode(), text
    )


def shorten(text: str, limit: int = 200) -> str:
    """Foreign text in a message: printable, and at most `limit` characters of it."""
    clean = printable(text[: limit + 1])
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def _lines(text: str) -> str:
    """Printable text of several lines, none of them endless."""
    lines = text.split("\n", LINES)
    rest = "\n…" if len(lines) > LINES else ""
    return "\n".join(shorten(line, LINE) for line in lines[:LINES]) + rest
