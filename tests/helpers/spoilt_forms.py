"""The refer layout with one entry spoilt, and what is said of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import raw_forms
from unires_jax.errors import Kind

Change = Callable[[list[dict[str, Any]], dict[str, Any]], None]


def spoilt(root: Path, change: Change) -> Path:
    """The refer layout after a change of refs and instances."""
    raw_forms.write_refer(root)
    refs, instances = raw_forms.refs(), raw_forms.instances()
    change(refs, instances)
    (root / "refcoco/refs(unc).p").unlink()
    raw_forms.write_json(root / "refcoco/refs(unc).json", refs)
    raw_forms.write_json(root / "refcoco/instances.json", instances)
    return root


def ref(**values: Any) -> Change:
    return lambda refs, instances: refs[0].update(values)


def sentence(**values: Any) -> Change:
    return lambda refs, instances: refs[0]["sentences"][0].update(values)


def annotation(**values: Any) -> Change:
    return lambda refs, instances: instances["annotations"][0].update(values)


def segmentation(value: Any) -> Change:
    return annotation(segmentation=value)


def rle(counts: Any, height: int = 40) -> Change:
    return segmentation({"size": [height, 60], "counts": counts})


def picture(**values: Any) -> Change:
    return lambda refs, instances: instances["images"][0].update(values)


# What is spoilt, and what is said of it.
BAD: dict[str, tuple[Change, str]] = {
    "lost annotation": (ref(ann_id=999), "ann_id 999: not among the annotations"),
    "no target here": (ref(ann_id=[]), r"\[-1\] alone means no target"),
    "text for an id": (ref(ref_id="7"), "ref_id is '7', expected an integer"),
    "huge id": (ref(ref_id=2**70), "ref_id is an integer of 71 bits"),
    "true for an id": (ref(ref_id=True), "ref_id is True, expected an integer"),
    "foreign split": (ref(split="minival"), "refcoco_unc has train, val, testA"),
    "lost image": (ref(image_id=5), "image_id 5: not among the images"),
    "other image": (ref(image_id=202), "lies on image 101, the referent on 202"),
    "no sentences": (ref(sentences=[]), "sentences: none"),
    "empty sentence": (sentence(sent="  "), "sent is empty"),
    "half a character": (sentence(sent="\ud800"), "sent is .* expected a text"),
    "number": (sentence(sent=5), r"sentences\[0\]: sent is 5, expected a text"),
    "twice": (sentence(sent_id=1), r"occur twice"),
    "two points": (segmentation([[1, 1, 9, 9]]), "4 numbers are no polygon"),
    "odd": (segmentation([[1, 1, 9, 9, 5, 5, 5]]), "no polygon"),
    "nothing": (segmentation([]), "at least one polygon"),
    "no pixel": (segmentation([[1, 1, 1, 1, 1, 1]]), "hold no pixel"),
    "far": (segmentation([[0, 0, 1e9, 0, 1e9, 9]]), "outside the image"),
    "nan": (
        segmentation([[0, 0, float("nan"), 0, 9, 9]]),
        "nan, expected a finite number",
    ),
    "not filling": (rle([5, 5]), "do not fill 40 x 60"),
    "negative": (rle([2401, -1]), "do not fill"),
    "other size": (rle("x", 41), r"size \[41, 60\], the image has \[40, 60\]"),
    "no counts": (rle("~"), "rle: "),
    "box": (annotation(bbox=[1, 2]), "bbox has 2 numbers, expected 4"),
    "box of texts": (annotation(bbox=["a"] * 4), "bbox is 'a', expected a finite"),
}
# The kind under which the doctor counts it; that of the others is UNUSABLE.
KIND_OF = {
    "lost annotation": Kind.MASK_EMPTY,
    "no pixel": Kind.MASK_EMPTY,
    "no sentences": Kind.SENTENCE_EMPTY,
    "empty sentence": Kind.SENTENCE_EMPTY,
    "twice": Kind.ID_TWICE,
    "far": Kind.SIZE_DIFFERS,
    "not filling": Kind.SIZE_DIFFERS,
    "negative": Kind.SIZE_DIFFERS,
    "other size": Kind.SIZE_DIFFERS,
}
