"""Left and right in the names of parts: the object's own, not the viewer's.

A person's left arm is on the right of a picture that shows the face. The word is said
where both readings agree; else the viewer's side is.
"""

from unires_jax.engine.part_sources.places import Box, within

OWN = ("left", "right")
AHEAD = 0.2  # of the object's width, between a part and its twin; ours


def own_side(part: str) -> str:
    """The side in a part's name, "" where it has none: "left" of "left front leg"."""
    words = [word for word in part.split() if word in OWN]
    return words[0] if len(words) == 1 else ""


def sideless(part: str) -> str:
    """The name without its side: "front leg"."""
    return " ".join(word for word in part.split() if word not in OWN)


def seen_side(part: Box, twin: Box, whole: Box) -> str:
    """The viewer's side of a part beside its twin; "" where they are too near."""
    ahead = (part[0] + part[2] / 2) - (twin[0] + twin[2] / 2)
    if abs(ahead) < AHEAD * whole[2]:
        return ""
    return "left" if ahead < 0 else "right"


def where_seen(side: str, part: Box, twin: Box, height: int, width: int) -> str:
    """Words for the viewer's side: of the picture, or only further to that side."""
    here, there = within(side, [part, twin], height, width)
    if here is True and there is False:
        return f"on the {side} side of the picture"
    return f"further to the {side}"
