"""Captions held against the picture: colours that pixels contradict, names.

Source: ours.
"""

import re
from collections.abc import Mapping

from unires_jax.engine.colours import COLOURS, Palette
from unires_jax.engine.english import ARTICLES, plural, with_article, words
from unires_jax.engine.nouns import has_no_colour
from unires_jax.pixels.masks import RunMask

SOME = 0.03  # share of a region that a colour of something on it has at least
_COLOUR = "|".join(COLOURS)
_RUN = re.compile(
    rf"(?:\b(?P<article>an?) )?\b(?P<colours>(?:{_COLOUR})"
    rf"(?:(?:, and |, | and |-and-|/| )(?:{_COLOUR}))*)"
    r" (?!(?:on|in|at|of|with|and|or|to|next|near|behind|beside|is)\b)"  # an orange
    r"(?P<rest>\w[^,.]*)",
    re.IGNORECASE,
)
_REACH = 3  # words after the colour among which its noun is sought

# Words of a place or an order, beside which another would be said twice.
_PLACED = words(
    "left right top bottom middle center centre corner upper lower leftmost rightmost "
    "topmost bottommost lowest highest far first second third fourth fifth last next "
    "between behind above below under front beside foreground background near nearest "
    "nearer closest closer distant distance"
)
_DRESSED = words("in wearing wears dressed")


def mended(
    text: str, region: RunMask, masks: Mapping[str, RunMask], palette: Palette
) -> str:
    """The caption of a region without the colour words that pixels contradict.

    `masks` are of the names that the caption may say: of the thing and of its parts.
    A colour of one of them needs the palette's share of its pixels; a colour of
    something else on the region SOME of the region's. A person has no colour.
    """

    def mend(match: re.Match[str]) -> str:
        article, rest = match["article"] or "", match["rest"]
        rest = _RUN.sub(mend, rest)
        colours = [c for c in COLOURS if c in match["colours"].lower()]
        if _agree(colours, rest, region, masks, palette):
            words = f"{match['colours']} {rest}"
            return f"{article} {words}".strip()
        return _keep_case(article, with_article(rest)) if article else rest

    return _RUN.sub(mend, text)


def _keep_case(article: str, words: str) -> str:
    return words[0].upper() + words[1:] if article[0].isupper() else words


def _agree(
    colours: list[str],
    rest: str,
    region: RunMask,
    masks: Mapping[str, RunMask],
    palette: Palette,
) -> bool:
    words = [w.lower() for w in re.findall(r"\w+", rest)[:_REACH]]
    if any(has_no_colour(w) and w != "hair" for w in words[:1]):
        return False
    for noun, mask in masks.items():
        last = noun.split()[-1]
        if last in words or plural(last) in words:
            shares = palette.shares(mask)
            return not shares or sum(shares[c] for c in colours) >= palette.share
    shares = palette.shares(region)
    return not shares or all(shares[c] >= SOME for c in colours)


def core(text: str, noun: str) -> str:
    """A caption as the name of one thing, or "" where it does not name it so.

    "A black truck." is "black truck" for a truck; "truck on the left" has a place
    already, to which none can be added.
    """
    words = text.strip().rstrip(".!").split()
    if words and words[0].lower() in ARTICLES:
        words = words[1:]
    lower = [w.lower().strip(",") for w in words]
    last = noun.split()[-1]
    if _PLACED & set(lower):
        return ""
    if last not in lower or plural(last) in set(lower) - {last} or len(words) > 12:
        return ""
    return " ".join((words[0].lower(), *words[1:]))


def is_dressed(caption: str) -> bool:
    """Whether a caption says already what something is in: a coat, a bowl."""
    return bool(_DRESSED & {w.lower().strip(",") for w in caption.split()})
