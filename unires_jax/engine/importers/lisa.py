"""LISA's form (ReasonSeg): a JSON a picture, sentences and the outlines they mean.

Source of the format: LISA's reader of ReasonSeg. `text` is a list of sentences, each of
which means all shapes of the label "target"; what another label marks is not meant.
The picture lies beside the JSON under its name.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unires_jax import limits
from unires_jax.engine.importers import outlines
from unires_jax.engine.part_sources.coco_file import sentences
from unires_jax.engine.part_sources.form import (
    Asked,
    Form,
    Opened,
    SourceFiles,
    WrongForm,
)
from unires_jax.engine.part_sources.json_lists import json_files
from unires_jax.engine.part_sources.regions import AnnotatedPicture, Annotation
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.images import image_size
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.fields import get, numbers, read_json

TARGET = "target"
_ENDS = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects, asked: Asked) -> Iterator[Opened]:
    """The pictures of a folder of JSON files, however deep, or of one."""
    source = SourceFiles(path, asked.follow_links)
    files = json_files(path) if path.is_dir() else [path]
    if not files or not _is_lisa(source, files):
        raise WrongForm("holds no JSON of text and shapes", place=str(path))
    rejects.expect(len(files))
    yield Opened(len(files), _pictures(source, files, rejects))


def _is_lisa(source: SourceFiles, files: Sequence[Path]) -> bool:
    """Whether the first JSON that can be read is one picture of LISA's."""
    for path in files:
        with contextlib.suppress(DataError):
            content = read_json(source.checked(path))
            return isinstance(content, dict) and {"shapes", "text"} <= content.keys()
    return True  # each is refused by its own reason


def _pictures(
    source: SourceFiles, files: Sequence[Path], rejects: Rejects
) -> Iterator[AnnotatedPicture]:
    for number, path in enumerate(files):
        try:
            yield read_picture(source, path, number, rejects.notes)
        except DataError as error:
            rejects.note(str(path), error)


def read_picture(
    source: SourceFiles, path: Path, number: int, notes: Notes
) -> AnnotatedPicture:
    """The picture of a file; `number` is its id. Raises DataError."""
    content = read_json(source.checked(path))
    said = sentences(get(content, "text", list, ""), notes)
    shapes = get(content, "shapes", list, "")
    if not said:
        raise DataError("holds no sentence", place="text", kind=Kind.SENTENCE_EMPTY)
    if len(shapes) > limits.MASKS:
        raise DataError(f"{len(shapes)} shapes, the limit is {limits.MASKS}")
    places = [path.with_suffix(end) for end in _ENDS]
    picture = next(filter(os.path.lexists, places), None)
    if picture is None:
        raise DataError(
            f"no picture {path.stem}.jpg beside it; add it", kind=Kind.IMAGE_ABSENT
        )
    name = picture.relative_to(source.root).as_posix()
    data = source.read(picture)
    height, width = image_size(data)
    masks = [
        _mask(shape, f"shapes[{i}]", height, width)
        for i, shape in enumerate(shapes)
        if get(shape, "label", str, f"shapes[{i}]").lower() == TARGET
    ]
    if not masks:
        raise DataError(
            "no shape is labelled target", place="shapes", kind=Kind.MASK_EMPTY
        )
    whole = RunMask.union(masks, height, width)
    return AnnotatedPicture(
        image=Image(number, name, height, width),
        annotations=(Annotation(0, whole, "", captions=said),),
        merged=True,
        data=data,
    )


def _mask(shape: Any, place: str, height: int, width: int) -> RunMask:
    rows = [numbers(p, 2, place, "points") for p in get(shape, "points", list, place)]
    return outlines.filled([(x, y) for x, y in rows], height, width)


FORM = Form(
    "lisa",
    "LISA (ReasonSeg)",
    "a folder of JSON files with `text` and `shapes`, each beside its picture",
    "its own",
    True,
    open_source,
    asks=True,
)
