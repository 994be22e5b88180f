"""Phrases made sentences: of objects, of parts, of several. Source: ours.

The paper's texts are "{part} of {object}"; the other orders are paraphrases.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from random import Random

from unires_jax.engine.english import (
    is_plural,
    number,
    owner,
    plural,
    without_article,
)
from unires_jax.engine.mending import is_dressed
from unires_jax.engine.nouns import PartName, has_no_colour, part_name, spoken
from unires_jax.engine.phrases import Phrase
from unires_jax.engine.record import Text
from unires_jax.engine.scene import Thing, pieces
from unires_jax.engine.singling import Group

SRC = "geometry"
READY = ("caption", "given")  # forms of texts that are there before
WORDS = (2, 20)  # of a text
OWNERS = 2  # names of an object that a part's texts take
# How much oftener than another form its name stands before a part.
WEIGHTS = {"colour": 3, "joint": 2, "place": 2, "size": 2}
# Forms of which an object has up to two names: what people say, and what a model is
# slowest to learn (measured on PartWorld).
OFTEN = ("colour", "relation", "size")
_SHORT = ("template", "colour", "place", "size")  # forms
_COUNTED = ("both", "all", "two", "three", "four", "five")


@dataclasses.dataclass(frozen=True)
class Name:
    """What an object may be called; nothing else in the picture is called so."""

    phrase: Phrase
    noun: str
    of: str = ""  # the caption that it was made of
    wide: bool = False  # whether the noun is of nouns.WIDER

    @property
    def words(self) -> str:
        """Without an article."""
        return self.phrase.around(self.noun)

    @property
    def has_side(self) -> bool:
        """Whether it says left or right."""
        return bool({"left", "right", "leftmost", "rightmost"} & {*self.words.split()})

    @property
    def ends_with_noun(self) -> bool:
        """Whether "'s" may follow it."""
        return not self.phrase.after and not self.of


def text(
    words: str, form: str, targets: Sequence[str], of: str, r: Random
) -> Text | None:
    """A text with or without an article; None for one of too few or many words."""
    if words.split()[0] not in _COUNTED and (" " not in words or r.random() < 0.5):
        words = f"the {words}"
    if not WORDS[0] <= len(words.split()) <= WORDS[1]:
        return None
    return Text(words, form, tuple(targets), of, SRC)


def choose_names(
    phrases: Sequence[Phrase],
    noun: str,
    also: str,
    caption: str,
    given: str,
    r: Random,
) -> list[Name]:
    """A name of each form, two of those `OFTEN` said, and the caption with a place.

    `also` is another word for the noun, or "". What the source has `given` as the
    object's name is one as it stands.
    """
    names = []
    for form in dict.fromkeys(p.form for p in phrases):
        usual = [p for p in phrases if p.form == form]
        if form in ("place", "ordinal"):  # left and right come before up and down
            usual = [p for p in usual if Name(p, noun).has_side] or usual
        words = r.sample((noun, also), 2) if also else [noun]
        named = [Name(p, w) for w in words for p in r.sample(usual, len(usual))]
        names += named[: 2 if form in OFTEN else 1]
    dressed = is_dressed(caption)
    behind = [p for p in phrases if p.after and not (p.before or (p.worn and dressed))]
    if caption and behind:
        names.append(Name(r.choice(behind), caption, of=caption))
    elif caption and any(p.form == "template" for p in phrases):
        names.append(Name(Phrase("caption"), caption, of=caption))
    if given:
        names.append(Name(Phrase("given"), given, of=given))
    return names


def of_object(thing: Thing, names: Sequence[Name], r: Random) -> Iterator[Text | None]:
    """The texts of an object's names, but for those that are texts already."""
    for name in names:
        if name.phrase.form not in READY:
            yield text(name.words, name.phrase.form, (thing.region.id,), name.of, r)


def of_part(
    part: Thing,
    siblings: Sequence[Thing],
    names: Sequence[Name],
    colour: str,
    paraphrases: bool,
    r: Random,
) -> Iterator[Text | None]:
    """The texts of a part, by the names of its object; `colour` is its own or "".

    Its own left or right is its owner's: "the man's left arm".
    """
    name, target = part_name(part.region.part), (part.region.id,)
    if is_ambiguous(name, siblings):
        return
    if name.side:
        plain = [n for n in names if n.ends_with_noun and not n.has_side]
        for n in plain[:OWNERS]:
            yield text(f"{owner(n.words)} {name.full}", "compose", target, n.words, r)
        return
    noun = noun_of(part, name)
    # "The coat of the person in the red coat" says too much.
    names = [n for n in names if name.noun not in n.words.split()]
    owners = _drawn(names, OWNERS, r)
    if colour and owners:
        words = f"{colour} {noun} of {_the(owners[0].words)}"
        yield text(words, "colour", target, owners[0].of or owners[0].words, r)
    for n in owners:
        words = f"{noun} of {_the(n.words)}"
        composed = text(words, "compose", target, n.of or n.words, r)
        yield composed
        if composed and paraphrases and n is owners[0]:
            yield _paraphrase(noun, name, n, composed, r)


def _drawn(names: Sequence[Name], count: int, r: Random) -> list[Name]:
    """So many of the names, by the weights of their forms."""
    weights = [WEIGHTS.get(n.phrase.form, 1) for n in names]
    draws = sorted((-(r.random() ** (1 / w)), i) for i, w in enumerate(weights))
    return [names[i] for _, i in draws[:count]]


def is_ambiguous(name: PartName, siblings: Sequence[Thing]) -> bool:
    """Whether another part of the same object could be meant."""
    others = [part_name(s.region.part) for s in siblings]
    alike = [o for o in others if o.noun == name.noun]
    return any(o.side == name.side or not (o.side and name.side) for o in alike)


def noun_of(part: Thing, name: PartName) -> str:
    """A part's noun, plural where its mask has several pieces."""
    several = part.mask is not None and name.countable and pieces(part.mask) > 1
    return plural(name.noun) if several else name.noun


def _the(words: str) -> str:
    return words if words.split()[0] in _COUNTED else f"the {words}"


def _paraphrase(
    noun: str, name: PartName, n: Name, composed: Text, r: Random
) -> Text | None:
    """The same in another order, where there is one."""
    orders = []
    if n.ends_with_noun:
        orders.append(f"{owner(n.words)} {noun}")
        if not has_no_colour(n.noun):
            orders.append(f"{n.words} {noun}")
    if not name.of_body:
        orders.append(f"{noun} on the {n.words}")
    if not orders:
        return None
    words = r.choice(orders)
    return text(words, "paraphrase", composed.targets, composed.text, r)


def of_viewer(part: Thing, side: str, r: Random) -> Iterator[Text | None]:
    """The viewer's form of one of a pair: its owner's left or right, or neither.

    `side` is where it clearly lies of all parts of that noun: words behind it, or "".
    """
    if side:
        noun = part_name(part.region.part).noun
        yield text(f"{noun} {side}", "place", (part.region.id,), "", r)


def of_bare_part(part: Thing, phrase: Phrase, r: Random) -> Text | None:
    """A part without its object: "the left seat"."""
    words = phrase.around(noun_of(part, part_name(part.region.part)))
    return text(words, phrase.form, (part.region.id,), "", r)


def quantity(count: int, everything: bool, r: Random) -> str:
    """The words before a plural."""
    if everything and count == 2:
        return r.choice(("both", "both", "the two"))
    if everything:
        many = number(count)
        return r.choice(("all", "all the", f"all {many}", f"the {many}"))
    return r.choice(("the", f"the {number(count)}")) if count <= 5 else "the"


def of_several(
    group: Group, ids: Sequence[str], category: str, r: Random
) -> Text | None:
    """ "both cars", "the three people on the left"."""
    noun = spoken(category)
    before, _, after = group
    if is_plural(noun):
        return None
    words = " ".join(w for w in (before, plural(noun), after) if w)
    return text(without_article(words), "plural", ids, "", r)


def of_two(
    names: Sequence[Sequence[Name]], ids: Sequence[str], r: Random
) -> Text | None:
    """ "the dog and the red car": two things, each by a short name of its own."""
    short = [[n for n in its if n.phrase.form in _SHORT and not n.of] for its in names]
    if not all(short):
        return None
    first, second = (r.choice(its).words for its in short)
    article = r.choice(("", "the "))
    return text(f"{first} and {article}{second}", "plural", ids, "", r)


def of_several_parts(
    group: Group, parts: Sequence[Thing], category: str, r: Random
) -> Text | None:
    """ "the wheels of both cars": one part of each of several objects."""
    noun, name = spoken(category), part_name(parts[0].region.part)
    before, _, after = group
    if is_plural(noun):
        return None
    words = " ".join(w for w in (before, plural(noun), after) if w)
    ids = [p.region.id for p in parts]
    return text(f"{plural(name.noun)} of {words}", "plural", ids, "", r)
