"""ADE20K: everything in a picture, its parts, and parts of parts, as PNG and JSON.

Source of the format: ADE20K's utils_ade20k.py and its sample pictures (2021). In
`<name>_seg.png` and `<name>_parts_<level>.png` a pixel's class is R // 10 * 256 + G,
and B tells things apart; `<name>.json` names classes (`name_ndx`) and what a part
belongs to (`parts.ispartof`). It has the whole outline of a thing, the PNG what is seen
of it: they are one where they overlap most (ours).
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from unires_jax import documents, limits
from unires_jax.engine.part_sources import ade20k_part_234
from unires_jax.engine.part_sources.form import (
    Asked,
    Form,
    Opened,
    SourceFiles,
    WrongForm,
)
from unires_jax.engine.part_sources.regions import AnnotatedPicture, Annotation, Key
from unires_jax.errors import DataError, Kind
from unires_jax.files import read_content
from unires_jax.pixels.images import decode_image
from unires_jax.pixels.masks import RunMask, require_comparable
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.fields import check, get, is_key

END = "_seg.png"
THINGS = 1000  # of one picture; ADE20K has some 300 at most
LEVELS = 8  # of parts of parts; ADE20K has 3


class Thing(NamedTuple):
    """An entry of a picture's JSON."""

    key: int
    name: str
    code: int  # of its class, as the PNG has it
    level: int  # 0: an object
    above: int | None  # what it is a part of
    outline: RunMask | None


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects, asked: Asked) -> Iterator[Opened]:
    """The pictures of a folder of ADE20K's, however deep; or of ADE20K-Part-234."""
    if path.is_file():
        with ade20k_part_234.open_source(path, rejects, asked) as opened:
            yield opened
        return
    files = sorted(path.rglob(f"*{END}"))
    if not files:
        raise WrongForm(f"holds no *{END}", place=str(path))
    rejects.expect(len(files))
    source = SourceFiles(path, asked.follow_links)
    yield Opened(len(files), _pictures(source, files, rejects))


def _pictures(
    source: SourceFiles, files: Sequence[Path], rejects: Rejects
) -> Iterator[AnnotatedPicture]:
    for number, path in enumerate(files):
        try:
            yield read_picture(source, path, number)
        except DataError as error:
            rejects.note(str(path), error)


def read_picture(source: SourceFiles, path: Path, number: int) -> AnnotatedPicture:
    """The picture of a `<name>_seg.png`; `number` is its id. Raises DataError."""
    stem = path.name.removesuffix(END)
    levels = [
        path,
        *(path.with_name(f"{stem}_parts_{n}.png") for n in range(1, LEVELS)),
    ]
    # No picture has all levels; what is there under the name is read, or refused.
    decoded = {
        n: masks(source.read(p)) for n, p in enumerate(levels) if os.path.lexists(p)
    }
    height, width = decoded[0][0]
    description = source.checked(path.with_name(f"{stem}.json"))
    things = _things(description, height, width)
    annotations: list[Annotation] = []
    for level, (size, regions) in decoded.items():
        if size != (height, width):
            raise DataError(
                f"{levels[level].name} is {size}, {path.name} {height, width} (height, "
                "width)",
                kind=Kind.SIZE_DIFFERS,
            )
        here = [t for t in things if t.level == level]
        annotations += _annotations(level, regions, here)
    name = path.with_name(f"{stem}.jpg").relative_to(source.root).as_posix()
    image = Image(number, name, height, width)
    return AnnotatedPicture(image, tuple(annotations))


def masks(data: bytes) -> tuple[tuple[int, int], dict[tuple[int, int], RunMask]]:
    """The size of a PNG, and its masks by class and by what tells things apart."""
    pixels = decode_image(data).astype(np.int64)
    code = pixels[..., 0] // 10 * 256 + pixels[..., 1]
    by_value = split_values(np.where(code > 0, code * 256 + pixels[..., 2], 0))
    regions = {divmod(v, 256): mask for v, mask in by_value.items() if v}
    return pixels.shape[:2], regions


def split_values(values: Int64[np.ndarray, "h w"]) -> dict[int, RunMask]:
    """The mask of each value of a picture. Raises DataError for too many."""
    height, width = values.shape
    columns = values.T.ravel()
    starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
    spans = np.stack([starts, np.append(starts[1:], len(columns))], axis=1)
    order = np.argsort(columns[starts], kind="stable")
    found, first = np.unique(columns[starts][order], return_index=True)
    if len(found) > THINGS:
        raise DataError(f"{len(found)} things in one picture, the limit is {THINGS}")
    groups = np.split(spans[order], first[1:])
    return {
        int(value): RunMask(group, height, width)
        for value, group in zip(found, groups, strict=True)
    }


def _things(path: Path, height: int, width: int) -> list[Thing]:
    content = _read(path)
    place = path.name
    entries = get(get(content, "annotation", dict, place), "object", list, place)
    if len(entries) > THINGS:
        raise DataError(f"{len(entries)} entries, the limit is {THINGS}", place=place)
    return [
        _thing(entry, f"{place}: object[{i}]", height, width)
        for i, entry in enumerate(entries)
    ]


def _read(path: Path) -> Any:
    """A picture's JSON, which is UTF-8 or, where an annotator wrote "café", Latin-1."""
    try:
        return documents.read_object(path)
    except DataError as error:
        if error.kind is not Kind.ENCODING:
            raise
        text = read_content(path, limits.SMALL_JSON_BYTES).decode("latin-1")
        with contextlib.suppress(ValueError):
            return documents.load(text)
        raise


def _thing(entry: Any, place: str, height: int, width: int) -> Thing:
    parts = get(entry, "parts", dict, place)
    above = parts.get("ispartof", parts.get("is_part_of"))  # [] where of nothing
    return Thing(
        key=get(entry, "id", int, place),
        name=get(entry, "name", str, place),
        code=get(entry, "name_ndx", int, place),
        level=get(parts, "part_level", int, place),
        above=above if is_key(above) else None,
        outline=_outline(entry.get("polygon"), height, width),
    )


def _outline(polygon: Any, height: int, width: int) -> RunMask | None:
    """What a polygon encloses; None where there is none that can be drawn."""
    try:
        xs, ys = (get(polygon, name, list, "") for name in ("x", "y"))
        points = [
            check(v, float, "", "polygon") for p in zip(xs, ys, strict=True) for v in p
        ]
        return RunMask.from_polygon(points, height, width)
    except (DataError, ValueError):
        return None


def _annotations(
    level: int, regions: dict[tuple[int, int], RunMask], things: Sequence[Thing]
) -> list[Annotation]:
    """What is seen at a level, each under the name and key of its thing."""
    matched = _match(regions, things)
    names = {t.code: t.name for t in things}
    annotations = []
    for place, mask in regions.items():
        thing = matched.get(place)
        name = thing.name if thing else names.get(place[0], "")
        if not name:
            continue  # a class that the JSON does not have at this level
        key: Key = thing.key if thing else f"{level}/{place[0]}/{place[1]}"
        annotations.append(
            Annotation(
                key=key,
                mask=mask,
                category="" if level else name,
                part=name if level else "",
                parent=thing.above if thing and level else None,
            )
        )
    return annotations


def _match(
    regions: dict[tuple[int, int], RunMask], things: Sequence[Thing]
) -> dict[tuple[int, int], Thing]:
    """Which thing each mask is: of its class, the one that it overlaps most."""
    outlines = [len(t.outline.spans) for t in things if t.outline]
    require_comparable([len(mask.spans) for mask in regions.values()], outlines)
    pairs: list[tuple[float, tuple[int, int], Thing]] = []
    for place, mask in regions.items():
        for thing in things:
            if thing.code == place[0]:
                both, either = (
                    mask.intersection_union(thing.outline) if thing.outline else (0, 1)
                )
                pairs.append((both / max(either, 1), place, thing))
    pairs.sort(key=lambda pair: -pair[0])
    matched: dict[tuple[int, int], Thing] = {}
    taken: set[int] = set()
    for _, place, thing in pairs:
        if place not in matched and thing.key not in taken:
            matched[place] = thing
            taken.add(thing.key)
    return matched


FORM = Form(
    "ade20k",
    "ADE20K",
    "a folder of <name>_seg.png, <name>_parts_1.png, <name>.json, or the JSON of "
    "ADE20K-Part-234",
    "non-commercial research, by request",
    True,
    open_source,
    asks=True,
)
