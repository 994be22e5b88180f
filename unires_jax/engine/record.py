"""The engine's record: a picture, its regions, and what is said of them and why.

One JSON object a line, "schema": "mres-engine/1". Every stage adds to it and takes
nothing away; `filters` alone decides what is kept, so that other thresholds need no
model. Source: ours.
"""

import dataclasses
import json
from typing import Any

from unires_jax import documents, limits
from unires_jax.errors import DataError

SCHEMA = "mres-engine/1"
DIGITS = 4  # of scores: what threads and batches change lies below
LEVELS = OBJECT, PART = "object", "part"
# What a text came from; the last two denote what their `targets` say, none or many.
FORMS = (
    *("caption", "given", "template", "compose", "place", "size", "ordinal"),
    *("relation", "colour", "joint", "paraphrase", "plural", "negative"),
)
COUNTING = ("place", "size", "ordinal", "joint", "plural")  # about all of a category
# A score is None where nobody has asked for it.
REGION_SCORES = (
    "pred_iou",  # the segmenter's own estimate
    "stability",  # IoU of its mask at two thresholds
    "box_iou",  # of the mask's box and the prompt
    "in_box",  # share of the mask inside the prompt grown by 5 %
    "largest",  # share of its largest piece after the cleaning
    "detector",  # of the part finder
    "contain",  # share of a part inside its object
    "area_ratio",  # part over object
    "same_name",  # a part's IoU with one of its name, in an object that is smaller
    "same_place",  # with a better one of another name, in its object
    "rank",  # a part's place in its object, 0: the best for the detector
)
TEXT_SCORES = (
    "logprob",  # of the captioner, mean a token
    "clip",  # cosine with the region's crop
    "clip_rank",  # 0: the picture's best text for this crop
    "clip_margin",  # ahead of the best other text; negative: behind
    "own_iou",  # the grounder's answer with the targets
    "best_other_iou",  # with the best other region of the level
    "answer_parent_iou",  # a part's answer with its whole object
    "detector",  # of a negative's phrase in the picture; of an extra instance
)

Scores = dict[str, float | None]


@dataclasses.dataclass(frozen=True)
class Text:
    """A sentence about regions of one picture."""

    text: str
    form: str  # one of FORMS
    targets: tuple[str, ...]  # ids of regions of one level; () denotes nothing
    of: str = ""  # the text it was made of
    src: str = ""  # <backend>@<fingerprint>, or "geometry"
    raw: str = ""  # the model's own words, before the cleaning
    scores: Scores = dataclasses.field(default_factory=dict)  # of TEXT_SCORES
    keep: bool = True
    codes: tuple[str, ...] = ()  # why not; none: it went with what it belongs to
    level: str = ""  # "part" of what is said of an object's absent part; "": region's


@dataclasses.dataclass(frozen=True)
class Region:
    """An object, or all pieces of one part of an object."""

    id: str  # unique in its picture: "o3", "o3/p1"
    level: str  # one of LEVELS
    category: str  # of the object, cleaned
    box: tuple[float, float, float, float]  # the prompt: x0, y0, x1, y1 in pixels
    parent: str = ""  # id of the part's object
    category_raw: str = ""
    part: str = ""
    rle: str = ""  # COCO's compressed counts over the picture; "": no mask yet
    area: int = 0  # pixels
    crowd: bool = False
    texts: tuple[Text, ...] = ()
    scores: Scores = dataclasses.field(default_factory=dict)  # of REGION_SCORES
    src: dict[str, str] = dataclasses.field(default_factory=dict)  # box, mask
    keep: bool = True
    codes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture of a shard."""

    image_id: int
    file: str  # below the plan's picture folder
    sha256: str  # of the file
    height: int  # pixels as stored; EXIF is not applied
    width: int
    regions: tuple[Region, ...] = ()
    coco_id: int = -1  # -1: none; goes into the pack, for the leakage check
    exhaustive: bool = True  # whether the source marks every instance of its categories
    errors: tuple[str, ...] = ()  # "<stage>: <what happened>", retried by `retry`
    keep: bool = True
    codes: tuple[str, ...] = ()


def level_of(region: Region, text: Text) -> str:
    """The level of a text, that of the region that holds it unless it says so."""
    return text.level or region.level


def root_form(region: Region, text: Text) -> str:
    """The form of a text, for a paraphrase that of the text it was made of."""
    forms = {t.text: t.form for t in reversed(region.texts) if t.form != "paraphrase"}
    return forms.get(text.of, text.form) if text.form == "paraphrase" else text.form


def to_line(picture: Picture) -> str:
    """A picture as one line of JSON, equal for equal pictures; scores are rounded."""
    # dataclasses.asdict copies every value, which takes four times as long.
    value = {"schema": SCHEMA, **vars(picture)}
    value["regions"] = [
        {
            **vars(region),
            "scores": _rounded(region.scores),
            "texts": [
                {**vars(text), "scores": _rounded(text.scores)} for text in region.texts
            ],
        }
        for region in picture.regions
    ]
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def _rounded(scores: Scores) -> Scores:
    """To DIGITS; what is no finite number is a score that nothing passes: -1."""
    return {
        k: None if v is None else round(v, DIGITS) + 0.0 if abs(v) < 1e9 else -1.0
        for k, v in scores.items()
    }


def from_line(line: str | bytes, place: str = "") -> Picture:
    """The picture of a line. Raises DataError naming `place` for another schema."""
    try:
        value = documents.load(line, limits.LINE_MEMORY)
        if not isinstance(value, dict) or value.pop("schema", None) != SCHEMA:
            raise DataError(f"is no line of {SCHEMA}; was it made by `unires engine`?")
        return _picture(value)
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(f"is no record of {SCHEMA}: {error}", place=place) from None
    except DataError as error:
        raise error.at(place) from None


def _picture(value: dict[str, Any]) -> Picture:
    return Picture(
        regions=tuple(_region(r) for r in value.pop("regions")),
        errors=tuple(value.pop("errors")),
        codes=tuple(value.pop("codes")),
        **value,
    )


def _region(value: dict[str, Any]) -> Region:
    texts = tuple(_text(t) for t in value.pop("texts"))
    box = tuple(map(float, value.pop("box")))
    return Region(
        texts=texts,
        box=box,  # type: ignore[arg-type]
        codes=tuple(value.pop("codes")),
        **value,
    )


def _text(value: dict[str, Any]) -> Text:
    return Text(
        targets=tuple(value.pop("targets")), codes=tuple(value.pop("codes")), **value
    )
