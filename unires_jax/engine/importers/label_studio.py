"""Label Studio's export (JSON): brushes, polygons, rectangles, ellipses, words beside.

Source of the format: Label Studio's pages on its tags and export, and its converter.
Places are in percent of the picture. Results of one id are one region: its outline,
its labels, and what was written (`text`) or chosen (`choices`) for it. A region below
another (`parentID`) is its part.
"""

import contextlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from unires_jax import limits
from unires_jax.engine.importers import outlines
from unires_jax.engine.part_sources.coco import split_name
from unires_jax.engine.part_sources.coco_file import sentences
from unires_jax.engine.part_sources.form import Form, Opened, WrongForm
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.engine.part_sources.regions import AnnotatedPicture, Annotation
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.label_studio import read_mask
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.fields import get, is_key, numbers

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # before the name of a file that was uploaded
_PICTURE = re.compile(r"\.(?:jpe?g|png|webp|bmp|tiff?|gif)\b", re.IGNORECASE)
Result = dict[str, Any]


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects) -> Iterator[Opened]:
    """The pictures of an export: a list of tasks."""
    if not path.is_file():
        raise WrongForm("expected the JSON file of an export", place=str(path))
    with JsonLists.open(path) as lists:
        if lists.names() != [""]:
            raise WrongForm("expected a list of tasks", place=str(path))
        tasks = [entry for _, entry in lists.entries("")]
        rejects.expect(len(tasks))
        yield Opened(len(tasks), _pictures(lists, tasks, rejects))


def is_label_studio(lists: JsonLists) -> bool:
    """Whether a JSON file is a list of tasks."""
    if lists.names() != [""]:
        return False
    for _, entry in lists.entries(""):
        task = lists.load(entry)
        return isinstance(task, dict) and "data" in task
    return False


def _pictures(
    lists: JsonLists, tasks: list[Any], rejects: Rejects
) -> Iterator[AnnotatedPicture]:
    for number, entry in enumerate(tasks):
        place = f"{lists.path}: task {number}"
        try:
            picture = read_task(lists.load(entry), number, rejects, place)
        except DataError as error:
            rejects.note(place, error)
            continue
        if picture is not None:
            yield picture


def read_task(
    task: Any, number: int, rejects: Rejects, place: str
) -> AnnotatedPicture | None:
    """The picture of a task; None for one that nobody annotated. Raises DataError."""
    if not isinstance(task, dict) or "annotations" not in task:
        raise DataError("has no annotations: export as JSON, not as JSON-MIN")
    results = _results(task, rejects.notes)
    regions: dict[str, list[Result]] = {}
    for i, result in enumerate(results):
        if isinstance(result, dict) and isinstance(result.get("value"), dict):
            regions.setdefault(str(result.get("id", i)), []).append(result)
    outlined = {k: v for k, v in regions.items() if _outline(v)}
    if not outlined:
        rejects.notes.add("tasks without a region")
        return None
    if len(outlined) > limits.MASKS:
        raise DataError(f"{len(outlined)} regions, the limit is {limits.MASKS}")
    sizes = {_size(group) for group in outlined.values()}
    if len(sizes) > 1:
        raise DataError("its regions are of pictures of several sizes")
    (height, width) = sizes.pop()
    rejects.expect(len(outlined))
    annotations = []
    for key, group in outlined.items():
        try:
            region = _annotation(key, group, outlined, (height, width), rejects.notes)
            annotations.append(region)
        except DataError as error:
            rejects.note(f"{place}: region {key}", error)
    names = picture_names(_reference(get(task, "data", dict, "")))
    own: Any = task.get("id")
    image_id = int(own) if is_key(own) and own >= 0 else number
    image = Image(image_id, names[0], height, width)
    return AnnotatedPicture(image, tuple(annotations), also=names[1:])


def _results(task: Result, notes: Notes) -> list[Any]:
    """The first annotation that was not cancelled."""
    done = [
        annotation
        for annotation in get(task, "annotations", list, "")
        if isinstance(annotation, dict)
        and not annotation.get("was_cancelled")
        and annotation.get("result")
    ]
    if len(done) > 1:
        notes.add("tasks with several annotations: the first is taken")
    return get(done[0], "result", list, "annotations[0]") if done else []


def _outline(group: list[Result]) -> Result | None:
    """The result that holds a region's outline."""
    for result in group:
        value = result["value"]
        if any(name in value for name in ("rle", "points", "width", "radiusX")):
            return result
    return None


def _size(group: list[Result]) -> tuple[int, int]:
    result = _outline(group)
    height, width = (
        get(result, name, int, "") for name in ("original_height", "original_width")
    )
    if not limits.plausible(height, width):
        raise DataError(f"original_height, original_width {height}, {width}: no size")
    return height, width


def _annotation(
    key: str,
    group: list[Result],
    regions: dict[str, list[Result]],
    size: tuple[int, int],
    notes: Notes,
) -> Annotation:
    result = _outline(group)
    assert result is not None
    if result.get("image_rotation"):
        raise DataError(
            f"image_rotation {result['image_rotation']}: turn the picture itself, and "
            "annotate that"
        )
    label = _label(group)
    named, above = split_name(label), result.get("parentID")
    parent = str(above) if str(above) in regions and str(above) != key else None
    category, part = named
    if parent is not None and not part:
        category, part = split_name(_label(regions[parent])).category, label
    return Annotation(
        key=key,
        mask=_mask(result["value"], *size),
        category=category,
        part=part,
        parent=parent,
        captions=_captions(group, notes),
    )


def _label(group: list[Result]) -> str:
    """The first label of a region."""
    for result in group:
        for name, words in result["value"].items():
            if name.endswith("labels") and isinstance(words, list) and words:
                return get({"label": words[0]}, "label", str, "")
    raise DataError("has no label; label it")


def _captions(group: list[Result], notes: Notes) -> tuple[str, ...]:
    """What was written for a region, else what was chosen."""
    for name in ("text", "choices"):
        words: list[Any] = []
        for result in group:
            value = result["value"].get(name)
            words += value if isinstance(value, list) else [value]
        if said := sentences(words, notes):
            return said
    return ()


def _mask(value: Result, height: int, width: int) -> RunMask:
    if "rle" in value:
        packed = get(value, "rle", list, "")
        return read_mask(packed, height, width)
    if "points" in value:
        rows = [numbers(p, 2, "", "points") for p in get(value, "points", list, "")]
        points = [(x * width / 100, y * height / 100) for x, y in rows]
        return outlines.filled(points, height, width)
    x, y = (get(value, name, float, "") for name in ("x", "y"))
    corner = x * width / 100, y * height / 100
    if "radiusX" in value:
        a, b = (get(value, name, float, "") for name in ("radiusX", "radiusY"))
        points = outlines.ellipse(corner, a * width / 100, b * height / 100)
    else:
        w, h = (get(value, name, float, "") for name in ("width", "height"))
        far = corner[0] + w * width / 100, corner[1] + h * height / 100
        points = outlines.rectangle(corner, far)
    angle = get(value, "rotation", float, "", 0.0)
    return outlines.filled(outlines.turned(points, corner, angle), height, width)


def _reference(data: dict[str, Any]) -> str:
    """Where a task says that its picture is."""
    named = data.get("image")
    words = [named, *data.values()]
    for word in words:
        if isinstance(word, str) and (word is named or _PICTURE.search(word)):
            return word
    raise DataError("names no picture", place="data", kind=Kind.IMAGE_ABSENT)


def picture_names(reference: str) -> tuple[str, ...]:
    """Under which names a picture may lie: in local storage, as uploaded, its own."""
    try:
        parts = urlsplit(reference)
    except ValueError:  # brackets that are no address
        parts = urlsplit("")
    stored = parse_qs(parts.query).get("d", [])  # /data/local-files/?d=folder/1.jpg
    paths = [posixpath.normpath(p).lstrip("/") for p in (*stored, unquote(parts.path))]
    last = posixpath.basename(paths[0])
    # /data/upload/1/1.jpg lies in media/upload/1; whoever exports names any of them.
    folders = [path.split("/") for path in paths]
    below = ["/".join(f[i:]) for f in folders for i in range(len(f) - 1)]
    names = [*below, last, _UPLOAD.sub("", last), paths[-1]]
    names = [name for name in dict.fromkeys(names) if name not in ("", ".", "..")]
    if not names:
        raise DataError("names no picture", place="data", kind=Kind.IMAGE_ABSENT)
    return tuple(names)


FORM = Form(
    "label_studio",
    "Label Studio",
    "its JSON export; `textarea`, else `choices`, of a region as its sentence",
    "its own",
    True,
    open_source,
    upright=True,
)
