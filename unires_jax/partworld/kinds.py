"""The words of PartWorld: kinds, their parts and names, colours, held-out pairs."""

import dataclasses
import functools
from collections.abc import Callable
from random import Random

from unires_jax.partworld import animals, people, things
from unires_jax.partworld.sketch import Sketch

VARIANTS = 16  # drawings of each kind; pose and proportions differ


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of object."""

    name: str
    words: tuple[str, ...]  # nouns that mean this kind and no other
    group: str  # the wider word: person, animal, vehicle, or "" for none
    parts: tuple[str, ...]
    draw: Callable[[Sketch, Random], None]
    side: tuple[int, int]  # longer side in stored pixels
    colour_words: tuple[str, ...] = ()  # how a colour is said after the noun

    @property
    def living(self) -> bool:
        """Whether it belongs to testA."""
        return self.group in ("person", "animal")


_MAN = ("in {c}", "in {c} shirt", "wearing {c}", "in the {c} shirt")
_WOMAN = ("in {c}", "in {c} dress", "wearing {c}", "in the {c} dress")

KINDS: dict[str, Kind] = {
    k.name: k
    for k in (
        Kind("man", ("man", "guy"), "person",
             ("head", "hat", "shirt", "arm", "leg"), people.man, (70, 100), _MAN),
        Kind("woman", ("woman", "lady"), "person",
             ("head", "hair", "dress", "arm", "leg"), people.woman, (70, 100), _WOMAN),
        Kind("dog", ("dog",), "animal",
             ("head", "ear", "body", "leg", "tail"), animals.dog, (58, 92)),
        Kind("cat", ("cat",), "animal",
             ("head", "ear", "body", "leg", "tail"), animals.cat, (58, 92)),
        Kind("horse", ("horse",), "animal",
             ("head", "mane", "saddle", "body", "leg", "tail"),
             animals.horse, (66, 100)),
        Kind("elephant", ("elephant",), "animal",
             ("head", "ear", "trunk", "body", "leg"),
             animals.elephant, (62, 98)),
        Kind("bird", ("bird",), "animal",
             ("head", "beak", "body", "wing", "tail"), animals.bird, (54, 88)),
        Kind("car", ("car",), "vehicle",
             ("wheel", "window", "door", "bumper"), things.car, (62, 98)),
        Kind("truck", ("truck",), "vehicle",
             ("wheel", "window", "cab", "trailer", "bumper"), things.truck, (66, 100)),
        Kind("bus", ("bus",), "vehicle",
             ("wheel", "window", "door", "bumper"), things.bus, (66, 100)),
        Kind("bicycle", ("bicycle", "bike"), "vehicle",
             ("wheel", "frame", "seat", "handlebar"), things.bicycle, (62, 98)),
        Kind("plane", ("plane",), "vehicle",
             ("wing", "window", "nose", "engine", "tail"), things.plane, (66, 100)),
        Kind("boat", ("boat",), "vehicle",
             ("hull", "sail", "flag"), things.boat, (58, 94)),
        Kind("house", ("house",), "",
             ("roof", "wall", "door", "window", "chimney"), things.house, (58, 96)),
        Kind("tree", ("tree",), "",
             ("crown", "trunk", "fruit"), things.tree, (56, 94)),
        Kind("chair", ("chair",), "",
             ("back", "seat", "leg"), things.chair, (54, 86)),
    )
}  # fmt: skip

PARTS: tuple[str, ...] = tuple(sorted({p for k in KINDS.values() for p in k.parts}))

COLOURS: dict[str, tuple[int, int, int]] = {  # RGB of an object's main surface
    "red": (206, 42, 42),
    "orange": (240, 134, 32),
    "yellow": (247, 218, 58),
    "green": (62, 152, 70),
    "blue": (48, 96, 204),
    "purple": (134, 70, 168),
    "white": (240, 240, 236),
    "black": (50, 50, 55),
}

# Pairs that only val_novel shows or names. Each half occurs in other, trained pairs.
NOVEL_PARTS = frozenset(
    {
        ("dog", "body"),
        ("horse", "tail"),
        ("elephant", "leg"),
        ("woman", "head"),
        ("truck", "window"),
        ("bus", "wheel"),
    }
)
NOVEL_COLOURS = frozenset(  # (colour, kind)
    {
        ("yellow", "man"),
        ("green", "dog"),
        ("red", "horse"),
        ("blue", "car"),
        ("black", "bus"),
        ("purple", "boat"),
        ("orange", "house"),
        ("white", "tree"),
    }
)


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a split shows and speaks of."""

    living: bool | None = None  # True: people and animals; False: the rest
    novel: bool = False  # True: held-out pairs and nothing else; False: none of them

    def covers(self, kind: str) -> bool:
        """Whether expressions may be about the kind."""
        return self.living in (None, KINDS[kind].living)

    def speaks_of(self, kind: str, colour: str) -> bool:
        """Whether expressions may be about such an object."""
        novel = (colour, kind) in NOVEL_COLOURS or any(
            k == kind for k, _ in NOVEL_PARTS
        )
        return self.covers(kind) and (novel or not self.novel)

    def shows(self, kind: str, colour: str) -> bool:
        """Whether such an object may be drawn."""
        return self.novel or (colour, kind) not in NOVEL_COLOURS


_PLURALS = {
    "man": "men",
    "woman": "women",
    "person": "people",
    "lady": "ladies",
    "bus": "buses",
    "body": "bodies",
    "fruit": "fruit",
    "dress": "dresses",
    "hair": "hair",
}


def plural(noun: str) -> str:
    """The plural of a kind, group or part word."""
    return _PLURALS.get(noun, noun + "s")


def members(noun: str) -> frozenset[str]:
    """The kinds that a kind's name or a group's name covers."""
    if noun in KINDS:
        return frozenset({noun})
    return frozenset(k.name for k in KINDS.values() if k.group == noun)


@functools.cache
def variant(kind: str, index: int) -> Sketch:
    """One of the kind's VARIANTS drawings, the same in every process."""
    sketch = Sketch()
    KINDS[kind].draw(sketch, Random(f"{kind}/{index}"))
    return sketch
