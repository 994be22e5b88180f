"""Pascal-Part: parts of VOC 2010's things, as .mat or as COCO JSON made of them.

Source of the formats: Pascal-Part's .mat (`anno.objects[].parts[]`), and the JSON of
VLPart and Osprey, whose categories are "dog:head" or "dog's head" and which marks no
object: a part is then named only where the picture has one of it.
"""

import contextlib
import importlib
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unires_jax.engine.part_sources.coco import split_name
from unires_jax.engine.part_sources.coco_file import CocoFile
from unires_jax.engine.part_sources.form import (
    Asked,
    Form,
    Opened,
    SourceFiles,
    WrongForm,
)
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.engine.part_sources.mat_names import full_name
from unires_jax.engine.part_sources.regions import AnnotatedPicture, Annotation
from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image

_THINGS = """
aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike
person pottedplant sheep sofa train tvmonitor
"""
THINGS = frozenset(_THINGS.split())
MAT_BYTES = 1 << 28  # of one file, unpacked; the largest has some 30 MB
_HEADER, _COMPRESSED = 128, 15  # bytes before the first element; its type


def matches(file: CocoFile) -> bool:
    """Whether a COCO JSON is made of Pascal-Part: only VOC's things, with parts."""
    names = [split_name(c.name) for c in file.categories.values()]
    things = {n.category.replace(" ", "") for n in names}
    return any(n.part for n in names) and things <= THINGS


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects, asked: Asked) -> Iterator[Opened]:
    """The pictures of a folder of .mat files, or of a JSON."""
    if path.is_dir():
        files = sorted(path.glob("*.mat")) or sorted(path.rglob("*.mat"))
        if not files:
            raise WrongForm("holds no .mat file", place=str(path))
        rejects.expect(len(files))
        source = SourceFiles(path, asked.follow_links)
        yield Opened(len(files), _mats(source, files, rejects))
        return
    with JsonLists.open(path) as lists:
        file = CocoFile(lists, rejects)
        if not matches(file):
            raise WrongForm(
                'categories are not "dog:head" or "dog\'s head" of VOC\'s things',
                place=str(path),
            )
        names = {k: split_name(c.name) for k, c in file.categories.items()}
        yield Opened(len(file.images), file.pictures(names))


def _mats(
    source: SourceFiles, files: list[Path], rejects: Rejects
) -> Iterator[AnnotatedPicture]:
    for path in files:
        try:
            yield read_mat(path.stem, source.read(path))
        except DataError as error:
            rejects.note(str(path), error)


def read_mat(name: str, content: bytes) -> AnnotatedPicture:
    """The picture of a .mat file; VOC's number in its name is its id (2008_000002).

    Raises DataError for another file, or where scipy is not installed.
    """
    try:
        loadmat = importlib.import_module("scipy.io").loadmat
    except ImportError:
        raise DataError(
            "Pascal-Part's .mat files are read by scipy: pip install scipy, or name "
            "VLPart's JSON made of them"
        ) from None
    number = re.sub(r"\D", "", name)
    if not number or len(number) > 18:
        raise DataError("expected a name as 2008_000002.mat")
    data = _bounded(content)
    try:
        anno = loadmat(io.BytesIO(data), simplify_cells=True)["anno"]
        return _picture(anno, int(number), name)
    except DataError:
        raise
    except Exception as error:  # on damaged bytes scipy raises almost anything
        raise DataError(
            f"is no annotation of Pascal-Part ({type(error).__name__}); fetch it again"
        ) from None


def _bounded(data: bytes) -> bytes:
    """The file, if what it unpacks to is not too much. Raises DataError otherwise."""
    at, size = _HEADER, 0
    while at + 8 <= len(data):
        kind, count = np.frombuffer(data, "<u4", 2, at).tolist()
        at += 8
        if kind == _COMPRESSED:
            unpack = zlib.decompressobj()
            try:
                piece = data[at : at + count]
                while piece and size <= MAT_BYTES:
                    size += len(unpack.decompress(piece, 1 << 20))
                    piece = unpack.unconsumed_tail
            except zlib.error as error:
                raise DataError(f"damaged: {error}; fetch it again") from None
        if size > MAT_BYTES:
            raise DataError(f"unpacks to more than {MAT_BYTES} bytes, refused")
        at += count
    return data


def _picture(anno: Any, number: int, name: str) -> AnnotatedPicture:
    objects = _structs(anno["objects"])
    annotations: list[Annotation] = []
    for i, thing in enumerate(objects):
        category = str(thing["class"])
        whole = RunMask.from_pixels(np.asarray(thing["mask"]))
        annotations.append(Annotation(f"o{i}", whole, category))
        for j, part in enumerate(_structs(thing["parts"])):
            mask = RunMask.from_pixels(np.asarray(part["mask"]))
            named = full_name(str(part["part_name"]))
            if mask.area:
                annotations.append(
                    Annotation(f"o{i}p{j}", mask, category, named, f"o{i}")
                )
    if not annotations:
        raise DataError("marks nothing")
    first = annotations[0].mask
    if len({(a.mask.height, a.mask.width) for a in annotations}) > 1:
        raise DataError("its masks have several sizes")
    image = Image(number, f"{name}.jpg", first.height, first.width)
    return AnnotatedPicture(image, tuple(annotations))


def _structs(value: Any) -> list[Any]:
    """The structs of a field, which is one alone, a list of them, or empty."""
    if isinstance(value, dict):
        return [value]
    return [v for v in np.ravel(np.asarray(value, object)) if isinstance(v, dict)]


FORM = Form(
    "pascal_part",
    "Pascal-Part",
    "the folder Annotations_Part of .mat files, or VLPart's or Osprey's JSON",
    "none is stated; pictures under Flickr's terms (VOC)",
    True,
    open_source,
    asks=True,
)
