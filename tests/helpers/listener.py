"""A literal listener for PartWorld: what a sentence picks out, from its words alone.

Written apart from the generator, with plain two-valued meanings instead of margins. It
reads a sentence as a bag of words around at most one relation. Where the generator is
clear of near ties and says what it means, both agree.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

Target = tuple[int, str]

PEOPLE = {"man": "man", "guy": "man", "woman": "woman", "lady": "woman"}
PEOPLE_PLURAL = {"men": "man", "guys": "man", "women": "woman", "ladies": "woman"}
ANIMALS = ("dog", "cat", "horse", "elephant", "bird")
VEHICLES = ("car", "truck", "bus", "bicycle", "plane", "boat")
OTHERS = ("house", "tree", "chair")
COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "white",
    "black",
    "pink",
)
PARTS = (
    *("arm", "back", "beak", "body", "bumper", "cab", "chimney", "crown", "door"),
    *("dress", "ear", "engine", "flag", "frame", "fruit", "hair", "handlebar", "hat"),
    *("head", "hull", "leg", "mane", "nose", "roof", "saddle", "sail", "seat", "shirt"),
    *("tail", "trailer", "trunk", "wall", "wheel", "window", "wing"),
)
ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3}
BIG = {"big", "large", "bigger", "biggest", "larger", "largest"}
SMALL = {"small", "little", "smaller", "smallest"}
# Of all, wherever in the picture they lie.
EXTREMES = {
    **{"leftmost": "left", "furthest to the left": "left"},
    **{"rightmost": "right", "furthest to the right": "right"},
    **{"topmost": "top", "highest": "top", "upper": "top"},
    **{"lowest": "bottom", "lower": "bottom"},
}
RELATION = re.compile(
    r"(.+?) (to the left of|on the left of|left of|to the right of|on the right of|"
    r"right of|above|over|below|under|next to|beside|in front of|behind) (?:the )?(.+)"
)


def _nouns() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    singular = {k: {v} for k, v in PEOPLE.items()}
    plural = {k: {v} for k, v in PEOPLE_PLURAL.items()}
    for kind in (*ANIMALS, *VEHICLES, *OTHERS):
        singular[kind] = {kind}
        plural["buses" if kind == "bus" else kind + "s"] = {kind}
    singular |= {"bike": {"bicycle"}, "airplane": {"plane"}, "person": {"man", "woman"}}
    singular |= {"animal": set(ANIMALS), "vehicle": set(VEHICLES)}
    plural |= {"bikes": {"bicycle"}, "airplanes": {"plane"}, "people": {"man", "woman"}}
    plural |= {"animals": set(ANIMALS), "vehicles": set(VEHICLES)}
    return singular, plural


ONE, MANY = _nouns()
PART_WORDS = {p: p for p in PARTS} | {p + "s": p for p in PARTS}
PART_WORDS |= {"bodies": "body", "dresses": "dress"}


_SAID = "|".join(COLOURS)
# "in the red hat", or "red hat": the colour of the garment.
GARMENT = re.compile(rf"(?: in the )?\b({_SAID}) (hat|shirt|dress)\b")
SHADES = {
    **{"red": (206, 42, 42), "orange": (240, 134, 32), "yellow": (247, 218, 58)},
    **{"green": (62, 152, 70), "blue": (48, 96, 204), "purple": (134, 70, 168)},
    **{"white": (240, 240, 236), "black": (50, 50, 55), "pink": (232, 146, 172)},
    **{"teal": (52, 160, 158), "tan": (206, 172, 126), "brown": (118, 80, 52)},
    "maroon": (128, 58, 66),
}


def looks(image: np.ndarray, mask: np.ndarray) -> str:
    """The shade that is nearest to the middle one of a region's pixels."""
    pixel = np.median(image[mask], axis=0)
    return min(SHADES, key=lambda s: float(np.abs(pixel - SHADES[s]).sum()))


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (exclusive) of the true pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def listen(
    text: str,
    objects: Sequence[Any],
    size: tuple[int, int],
    image: np.ndarray | None = None,
) -> set[Target]:
    """The (object, part) pairs of a sentence; `size` is the picture's height, width.

    With the picture's pixels a garment's colour is its own; without, its wearer's.
    """
    if " and " in text:
        return {
            t
            for half in text.split(" and ")
            for t in listen(half, objects, size, image)
        }
    if image is not None and (match := GARMENT.search(text)):
        clause, colour, garment = match.group(0), *match.groups()
        alike = [
            i
            for i, o in enumerate(objects)
            if garment in o.parts and looks(image, o.parts[garment].mask) == colour
        ]
        if not clause.startswith(" in"):
            rest = text.replace(clause, garment, 1)
            return {t for t in listen(rest, objects, size, image) if t[0] in alike}
        targets = listen(text.replace(clause, "", 1), [objects[i] for i in alike], size)
        return {(alike[i], part) for i, part in targets}
    holds: Callable[[int], bool] | None = None
    if match := RELATION.fullmatch(text):
        text, link, anchor = match.groups()
        ((base, _),) = listen(anchor, objects, size)
        holds = _relation(link, base, [o.whole.mask for o in objects])
    text = re.sub(r"in (?:the )?(\w+) (?:shirt|dress)\b", r"\1", text.replace("'s", ""))
    extreme = next((side for e, side in EXTREMES.items() if e in text), "")
    text = re.sub("|".join(EXTREMES), "", text)
    words = set(text.split())
    plural, singular = (
        [MANY[w] for w in words & set(MANY)],
        [ONE[w] for w in words & set(ONE)],
    )
    assert len(plural) + len(singular) <= 1, f"two nouns in {text!r}"
    parts = {PART_WORDS[w] for w in words & set(PART_WORDS)}
    assert len(parts) <= 1, f"two parts in {text!r}"
    part = next(iter(parts), "")
    kinds = (plural + singular)[0] if plural or singular else None
    colours = words & set(COLOURS)
    among = [
        i
        for i, o in enumerate(objects)
        if (o.kind in kinds if kinds else part in o.parts)
        and (not colours or o.colour in colours)
    ]
    # Of a part without its object, where the part lies counts.
    masks = {
        i: (objects[i].whole if kinds else objects[i].parts[part]).mask for i in among
    }
    chosen = _narrow(words, masks, size, bool(plural))
    if extreme and among:
        middles = {i: _middle(masks[i]) for i in among}
        chosen &= {_ranked(extreme, middles)[0]}
    if holds:
        chosen = {i for i in among if i != base and holds(i)}
    if plural:
        assert len(chosen) > 1, f"plural for {len(chosen)} in {text!r}"
    else:
        assert len(chosen) < 2, f"singular for {len(chosen)} in {text!r}"
    return {(i, part) for i in chosen if not part or part in objects[i].parts}


def _narrow(
    words: set[str], masks: dict[int, Any], size: tuple[int, int], plural: bool
) -> set[int]:
    """Those of the masks that size, ordinal and place words leave."""
    among, boxes = list(masks), {i: box(mask) for i, mask in masks.items()}
    x = {i: (b[0] + b[2]) / 2 / size[1] for i, b in boxes.items()}
    y = {i: (b[1] + b[3]) / 2 / size[0] for i, b in boxes.items()}
    area = {i: (b[2] - b[0]) * (b[3] - b[1]) for i, b in boxes.items()}
    chosen = set(among)
    if not among:
        return chosen
    if words & BIG:
        chosen &= {max(among, key=area.__getitem__)}
    if words & SMALL:
        chosen &= {min(among, key=area.__getitem__)}
    if nth := words & set(ORDINALS):
        side = next(s for s in ("right", "top", "bottom", "left") if s in words)
        middles = {i: (x[i], y[i]) for i in among}
        place = ORDINALS[nth.pop()]
        return chosen & {*_ranked(side, middles)[place : place + 1]}
    if words & {"middle", "center"}:
        chosen &= {i for i in among if abs(x[i] - 0.5) < 0.15}
    lean = {"left": x, "top": y}
    lean["right"] = {i: 1 - v for i, v in x.items()}
    lean["bottom"] = {i: 1 - v for i, v in y.items()}
    sides = words & set(lean)
    for side in sides:
        inside = {i for i in among if lean[side][i] < 0.5}
        extreme = len(sides) == 1 and not plural and len(among) > 1
        chosen &= inside
        if extreme:
            chosen &= {min(among, key=lean[side].__getitem__)}
    return chosen


def _middle(mask: Any) -> tuple[float, float]:
    left, top, right, bottom = box(mask)
    return (left + right) / 2, (top + bottom) / 2


def _ranked(side: str, middles: dict[int, tuple[float, float]]) -> list[int]:
    """The keys, the furthest toward a side first."""
    axis = 0 if side in ("left", "right") else 1
    back = side in ("right", "bottom")
    return sorted(middles, key=lambda i: middles[i][axis], reverse=back)


def _relation(link: str, base: int, masks: Sequence[Any]) -> Callable[[int], bool]:
    boxes = [box(m) for m in masks]

    def centre(i: int) -> tuple[float, float]:
        return (boxes[i][0] + boxes[i][2]) / 2, (boxes[i][1] + boxes[i][3]) / 2

    def gap(i: int) -> float:
        a, b = boxes[i], boxes[base]
        return max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])

    def touches(i: int) -> bool:
        grown = cv2.dilate(masks[base].astype(np.uint8), np.ones((3, 3), np.uint8))
        return bool((grown & masks[i]).any())

    by_link: dict[str, Callable[[int], bool]] = {
        "left of": lambda i: centre(base)[0] - centre(i)[0] > 12,
        "right of": lambda i: centre(i)[0] - centre(base)[0] > 12,
        "above": lambda i: centre(base)[1] - centre(i)[1] > 12,
        "below": lambda i: centre(i)[1] - centre(base)[1] > 12,
        "next to": lambda i: gap(i) < 14,
        # Objects are listed far to near.
        "in front of": lambda i: i > base and touches(i),
        "behind": lambda i: i < base and touches(i),
    }
    same = {"over": "above", "under": "below", "beside": "next to"}
    for prefix in ("to the ", "on the "):
        link = link.removeprefix(prefix)
    return by_link[same.get(link, link)]
