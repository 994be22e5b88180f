"""Pascal-Part's short names of parts, in full.

Source of the names: part2ind.m of Pascal-Part. l and r are the object's own sides, f
and b front and back, u and l upper and lower; a number at the end counts pieces.
"""

import re

_SIDES = {"l": "left", "r": "right"}
_ENDS = {"f": "front", "b": "back"}
_PLAIN = {"ebrow": "eyebrow", "pa": "paw", "ho": "hoof", "liplate": "license plate"}
_SIDED = ("wing", "eye", "ear", "horn", "leg", "foot", "hand", "arm", "ebrow")
_LIMBS = ("leg", "pa", "ho")
_FACES = ("front", "back", "left", "right", "roof")


def _table() -> dict[str, str]:
    names: dict[str, str] = {}
    for s, side in _SIDES.items():
        for part in _SIDED:
            names[s + part] = f"{side} {_PLAIN.get(part, part)}"
        for u, height in (("u", "upper"), ("l", "lower")):
            for part in ("arm", "leg"):
                names[s + u + part] = f"{side} {height} {part}"
        for e, end in _ENDS.items():
            for part in _LIMBS:
                names[s + e + part] = f"{side} {end} {_PLAIN.get(part, part)}"
            for u, height in (("u", "upper"), ("l", "lower")):
                names[f"{s}{e}{u}leg"] = f"{side} {end} {height} leg"
        names[f"{side}mirror"] = f"{side} mirror"
    for e, end in _ENDS.items():
        names[f"{e}wheel"] = f"{end} wheel"
        names[f"{e}liplate"] = f"{end} license plate"
    for face in _FACES:
        own = face if face in ("front", "back", "roof") else f"{face} side"
        names[f"{face}side"] = own
        names[f"h{face}side"] = f"head {own}"
        names[f"c{face}side"] = f"coach {own}"
    return names


_NAMES = _table()
_COUNT = re.compile(r"_\d+$")


def full_name(part: str) -> str:
    """The name of a part: "lfuleg" is a "left front upper leg", "wheel_2" a "wheel"."""
    bare = _COUNT.sub("", part)
    return _NAMES.get(bare, bare)
