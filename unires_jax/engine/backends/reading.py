"""Texts as the language models read them: processors loaded, texts cut, none acting.

Texts come from captions, files and people. None of them may hold what a tokenizer takes
for a sign of its own, and a text longer than a model reads is cut, which is said.
"""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from PIL import Image as Pil

from unires_jax.engine.roles import Crop, ModelError

log = logging.getLogger(__name__)
CHARACTERS = 10_000  # of a text; no model here reads more (ours)
_PLAIN = str.maketrans("<>", "  ")  # "<loc_7>", "</s>" and "<|im_end|>" are signs


def load_processor(cls: Any, folder: Path) -> Any:
    """A tokenizer or image processor. Raises ModelError for a folder without one."""
    try:
        return cls.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, LookupError, TypeError, ImportError) as error:
        raise ModelError(f"{folder}: no {cls.__name__} ({error})") from None


def plain(text: str) -> str:
    """A text of at most CHARACTERS that holds no sign of a tokenizer."""
    return text[:CHARACTERS].translate(_PLAIN)


def fill(tokenizer: Any, template: str, text: str, limit: int, name: str) -> list[int]:
    """Ids of a template that holds a text; the text's end is cut where it is too long.

    Raises ModelError where not even the template fits.
    """
    text = whole = plain(text)
    while len(ids := _ids(tokenizer, template.format(text))) > limit:
        if not text:
            raise ModelError(f"{name} reads {limit} tokens: too few for a question")
        text = text[: len(text) * limit // len(ids)]
    if text != whole:
        say_cut(name, limit)
    return ids


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return ids


@functools.cache
def say_cut(name: str, limit: int) -> None:
    """Say, once for each model, that the end of a text was not read."""
    log.warning("%s reads %d tokens; of longer texts the end was cut", name, limit)


def padded(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device, left: bool = False
) -> tuple[Int64[torch.Tensor, "n l"], Int64[torch.Tensor, "n l"]]:
    """Rows of ids as one tensor, and its mask: 1 for an id, 0 for a pad."""
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), pad)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(length - len(row), length) if left else slice(len(row))
        ids[i, place] = torch.tensor(row)
        mask[i, place] = 1
    return ids.to(device), mask.to(device)


def as_picture(image: Crop) -> Pil.Image:
    """For processors, which take the axes of small arrays for one another."""
    return Pil.fromarray(image)
