"""The errors of unires_jax. Standard library only."""

import enum
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
    SIZE_DIFFERS = "size differs"
    UNUSABLE = "unusable"  # anything else


class UserError(ValueError):
    """Something the user gave cannot be used. The message is meant for them."""

    def __init__(self, text: str, *, place: str = "", kind: Kind = Kind.UNUSABLE):
        """`place`: file, record and field; `text`: what is wrong, and the remedy."""
        super().__init__(text)
        self.text, self.place, self.kind = text, place, kind

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text

    def at(self: _Error, place: str) -> _Error:
        """The same fault, seen from further out: `raise error.at(path) from None`."""
        inner = f"{place}: {self.place}" if self.place else place
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


def shorten(text: str, limit: int = 200) -> str:
    """The text, cut to `limit` characters, without what cannot be printed."""
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
