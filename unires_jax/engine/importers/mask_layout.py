"""Where pictures, masks and captions lie in a folder whose names pair them.

Source: ours, after what tools and scripts write.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from unires_jax.errors import DataError

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
# Names of folders, in any case.
_OF_PICTURES = (
    *("images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "rgb"),
)
_OF_MASKS = ("masks", "mask", "segmentations", "segmentation", "segs")
_OF_CAPTIONS = ("captions", "caption", "texts", "text", "sentences", "prompts")
# How the name of a mask ends that lies among the pictures.
_END = re.compile(r"[-_. ](?:mask|seg|segmentation)[-_]?\d*$", re.IGNORECASE)


class Layout(NamedTuple):
    """The folders of pictures, masks and captions."""

    pictures: Path
    masks: Path  # the same, where the ends of names tell them
    captions: Path | None

    @classmethod
    def find(cls, root: Path, elsewhere: Path | None = None) -> "Layout | None":
        """The layout of a folder, its pictures `elsewhere`; None where it has none."""
        folders = {p.name.lower(): p for p in sorted(root.iterdir()) if p.is_dir()}

        def first(names: Sequence[str]) -> Path | None:
            return next((folders[name] for name in names if name in folders), None)

        masks, captions = first(_OF_MASKS), first(_OF_CAPTIONS)
        pictures = elsewhere or first(_OF_PICTURES)
        if masks is not None:
            has_own = any(p.suffix.lower() in PICTURES for p in root.iterdir())
            if pictures is None and has_own:
                pictures = root
            return cls(pictures, masks, captions) if pictures else None
        place = pictures or root
        names = [p.stem for p in place.iterdir() if p.suffix.lower() == ".png"]
        told = any(_END.search(name) for name in names)
        return cls(place, place, captions) if told else None

    def files(self) -> tuple[dict[str, Path], dict[str, Path]]:
        """Pictures and masks by their names without suffix, below their folders.

        Raises DataError for two of one name.
        """
        pictures = _by_stem(self.pictures, PICTURES)
        masks = _by_stem(self.masks, (".png",))
        if self.pictures == self.masks:
            masks = {s: p for s, p in masks.items() if _END.search(s)}
            pictures = {s: p for s, p in pictures.items() if s not in masks}
        elif self.masks.is_relative_to(self.pictures):  # pictures in the root
            pictures = {s: p for s, p in pictures.items() if "/" not in s}
        return pictures, masks


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in suffixes and not hidden and not path.is_dir():
            stem = name.with_suffix("").as_posix()
            if stem in files:
                raise DataError(
                    f"holds {files[stem].name} and {path.name}, which only their ends "
                    "tell apart; rename or remove one",
                    place=str(path.parent),
                )
            files[stem] = path
    return files


def owner(mask: str, pictures: dict[str, Path]) -> str | None:
    """The picture whose name is that of a mask, or the longest beginning of it."""
    if mask in pictures:
        return mask
    for end in range(len(mask) - 1, 0, -1):
        if not mask[end].isalnum() and mask[:end] in pictures:
            return mask[:end]
    return None


def plain(name: str) -> str:
    """A name in a table as `Layout.files` has it: below its folder, without suffix."""
    parts = name.replace("\\", "/").removeprefix("./").split("/")
    if len(parts) > 1 and parts[0].lower() in (*_OF_PICTURES, *_OF_MASKS):
        parts = parts[1:]
    stem, dot, end = parts[-1].rpartition(".")
    last = stem if dot and f".{end.lower()}" in PICTURES else parts[-1]
    return "/".join((*parts[:-1], last))
