"""How categories and parts are named in a sentence. Source: ours.

The left and right of a part's name ("left_arm") are the object's own. They are said
only as the owner's ("the man's left arm"), never as a place.
"""

import dataclasses
import functools
import re

from unires_jax.engine.english import plural, words

_PEOPLE = words(
    "person people man woman boy girl child kid baby guy lady player rider skier "
    "surfer pedestrian face hair hand arm leg"
)
_SCREENS = words("tv television monitor screen laptop mirror glass window")
# Of these a thing may show several: others in two pieces are one, half hidden.
_SEVERAL = words(
    "wheel tire tyre rim hubcap leg arm ear eye wing hand foot paw horn hoof knee "
    "elbow shoulder window door light headlight taillight headlamp lamp mirror pedal "
    "handle knob drawer shoe sock boot glove sleeve strap earring button leaf petal "
    "branch shelf cushion pillow armrest speaker key blade propeller pocket rung "
    "engine flag"
)
_WORN = words(
    "shirt t-shirt blouse top sweater sweatshirt jumper hoodie cardigan vest dress "
    "romper skirt coat jacket blazer suit cape pants trousers jeans shorts leggings "
    "tights stockings hat cap scarf shoes boots sneakers sandals socks gloves"
)
_BODY = words(
    "head face hair neck body torso back tail nose mouth beak skin arm leg hand foot "
    "paw ear eye wing mane snout muzzle knee elbow shoulder horn hoof trunk"
)
_SIDES = ("left", "right")
# Things alike enough to ask for in place of each other, different enough to tell.
# Only such as nobody leaves unmarked: spoons and keyboards lie about unseen.
_NEAR = tuple(
    frozenset(row.split(","))
    for row in (
        "dog,cat,horse,sheep,cow,elephant,bear,zebra,giraffe,bird",
        "car,bicycle,motorcycle,boat,airplane,train,plane",
        "truck,bicycle,boat,plane,airplane,train",
        "bus,bicycle,boat,plane,airplane,motorcycle",
        "chair,bed,refrigerator,sink,toilet,desk",
        "banana,apple,orange,carrot,broccoli,pizza,cake,donut,sandwich,hot dog",
        "house,tree,boat,fountain",
        "microwave,oven,toaster,refrigerator",
        "stop sign,fire hydrant,parking meter,traffic light,bench",
    )
)

# Wider words, and all that one would call so.
WIDER = {
    wide: frozenset((wide, *row.split(",")))
    for wide, row in {
        "person": "man,woman,boy,girl,guy,lady,child,kid,baby,player,pedestrian,rider,"
        "skier,surfer",
        "child": "boy,girl,kid,baby",
        "kid": "boy,girl,child,baby",
        "animal": "alpaca,antelope,bear,bee,bird,bull,butterfly,calf,camel,cat,cattle,"
        "cheetah,chicken,cow,crab,crocodile,deer,dog,dolphin,donkey,duck,eagle,"
        "elephant,fish,flamingo,fox,frog,giraffe,goat,goldfish,goose,gorilla,gull,"
        "hamster,hedgehog,hippopotamus,horse,jellyfish,kangaroo,kitten,koala,lamb,"
        "leopard,lion,lizard,lobster,monkey,ostrich,otter,owl,ox,panda,parrot,penguin,"
        "pig,pigeon,polar bear,pony,puppy,rabbit,raccoon,rhinoceros,seagull,seal,"
        "shark,sheep,shrimp,snail,snake,sparrow,spider,squirrel,starfish,swan,tiger,"
        "tortoise,turkey,turtle,whale,wild bird,wolf,yak,zebra",
        "bird": "chicken,duck,eagle,flamingo,goose,gull,ostrich,owl,parrot,penguin,"
        "pigeon,seagull,sparrow,swan,turkey",
        "dog": "puppy",
        "cat": "kitten",
        "cow": "cattle",
        "horse": "pony",
        "sheep": "lamb",
        "vehicle": "aeroplane,airplane,ambulance,bicycle,bike,boat,bus,canoe,car,"
        "carriage,fire truck,heavy truck,helicopter,kayak,limousine,machinery vehicle,"
        "minivan,motorbike,motorcycle,pickup,pickup truck,plane,rickshaw,sailboat,"
        "scooter,ship,sports car,suv,taxi,tractor,train,tricycle,trolley,truck,van",
        "car": "limousine,minivan,suv,taxi",
        "truck": "pickup",
        "boat": "canoe,kayak,sailboat",
    }.items()
}
# Words of which nobody knows which of the narrower ones the thing is; of which row.
_OPEN = {w: w for w in words("person child kid animal vehicle")} | {"player": "person"}
# Compounds that are none of what they end with.
_NO_KINDS = frozenset(
    ("hot dog", "prairie dog", "sea lion", "guinea pig", "sea horse", "rocking horse")
)
# What else people call a thing.
_ALSO = {
    "man": "guy",
    "woman": "lady",
    "bicycle": "bike",
    "motorcycle": "motorbike",
    "airplane": "plane",
    "plane": "airplane",
    "couch": "sofa",
    "sofa": "couch",
    "television": "tv",
    "refrigerator": "fridge",
    "cell phone": "phone",
}
# Things that a careless eye takes for each other.
_CONFUSABLE = tuple(
    frozenset(row.split(","))
    for row in (
        "car,truck,bus,van,minivan,suv,taxi,pickup",
        "airplane,aeroplane,plane,helicopter,jet",
        "motorcycle,motorbike,scooter,moped",
        "bicycle,bike,tricycle",
        "boat,ship,sailboat,canoe,kayak",
        "house,building,shed,hut",
        "tree,plant,potted plant,pottedplant,bush",
        "orange,tangerine,mandarin",
        "cake,cupcake,muffin,pie",
        "donut,doughnut,bagel",
        "sandwich,hamburger,burger,hot dog,hotdog",
        "oven,stove",
        "refrigerator,fridge",
        "dog,wolf",
        "cow,bull,calf,cattle,ox,yak",
        "cup,mug,glass,wine glass",
        "bag,handbag,purse,backpack,suitcase",
        "couch,sofa,chair,bench,armchair",
        "dining table,table,desk",
    )
)
# Parts that one may take for another: where one shows, none of its row is absent.
_TAKEN_FOR = tuple(
    words(row)
    for row in (
        "coat jacket blazer cardigan cape vest hoodie suit",
        "shirt t-shirt blouse top sweater sweatshirt jumper hoodie dress romper vest",
        "pants trousers jeans leggings tights stockings",
        "shoe boot sandal sneaker loafer heel pump flat wedge foot sock",
        "glasses sunglasses goggles",
        "wheel tire tyre rim hubcap",
        "light headlight headlamp taillight lamp",
        "window windshield windscreen glass",
        "head face hair",
        "body torso back",
        "paw foot hoof leg",
        "hand arm finger",
        "handle knob grip",
        "lid cap cover top",
    )
)


@functools.cache
def spoken(category: str) -> str:
    """A category as it is said: "car_(automobile)" is a car; never empty."""
    plain = re.sub(r"\([^)]*\)", " ", category).replace("_", " ").replace("/", " ")
    return " ".join(plain.lower().split()) or "thing"


def has_no_colour(category: str) -> bool:
    """Whether a colour word would be said of something else: a person's clothes."""
    return spoken(category).split()[-1] in _PEOPLE


def shows_others(category: str) -> bool:
    """Whether its pixels are of something else: on a screen, behind a glass."""
    return spoken(category).split()[-1] in _SCREENS


def also(category: str) -> str:
    """Another word for the same thing, or ""."""
    return _ALSO.get(spoken(category), "")


def near(category: str) -> list[str]:
    """Other categories that could stand in its place, sorted."""
    noun = spoken(category)
    return sorted({n for row in _NEAR if noun in row for n in row} - {noun})


@functools.cache
def taken_for(part: str) -> frozenset[str]:
    """Names of parts that one may take for this one, itself among them.

    By their last words: "running shoe" may be taken for a "boot".
    """
    last = part.split()[-1]
    rows = (r for r in _TAKEN_FOR if plural(last) in {plural(w) for w in r})
    return frozenset({last}).union(*rows)


def is_called(noun: str, word: str) -> bool:
    """Whether what a noun names is called by a word, too: a swivel chair is a chair."""
    compound = noun.endswith(f" {word}") and noun not in _NO_KINDS
    return noun == word or compound or noun in WIDER.get(word, ())


def may_be_called(noun: str, word: str) -> bool:
    """Whether it is, or the noun leaves it open: a person may be a man."""
    narrower = WIDER[_OPEN[noun]] if noun in _OPEN else frozenset[str]()
    return is_called(noun, word) or word in narrower


def confusable(category: str) -> frozenset[str]:
    """Categories that a careless eye takes for it."""
    noun = spoken(category)
    return next((row for row in _CONFUSABLE if noun in row), frozenset({noun}))


@dataclasses.dataclass(frozen=True)
class PartName:
    """A part's name in a sentence."""

    noun: str  # "arm", "front door"
    side: str = ""  # of its owner: "left", "right"

    @property
    def full(self) -> str:
        """With the owner's side: "left arm", "front left door"."""
        if not self.side:
            return self.noun
        first, _, rest = self.noun.partition(" ")
        if rest and first in ("front", "back", "rear", "upper", "lower"):
            return f"{first} {self.side} {rest}"
        return f"{self.side} {self.noun}"

    @property
    def countable(self) -> bool:
        """Whether a thing may show several of these."""
        return self.noun.split()[-1] in _SEVERAL

    @property
    def worn(self) -> bool:
        """Whether it is a garment: its colour is said, and its wearer "in" it."""
        return self.noun.split()[-1] in _WORN

    @property
    def of_body(self) -> bool:
        """Whether it grows: nobody says "the head on the man"."""
        return self.noun.split()[-1] in _BODY


@functools.cache
def part_name(part: str) -> PartName:
    """The name in `Region.part`, taken apart."""
    spelt = spoken(part).split()
    sides = [w for w in spelt if w in _SIDES]
    noun = " ".join(w for w in spelt if w not in _SIDES)
    return (
        PartName(noun, sides[0]) if len(sides) == 1 and noun else PartName(spoken(part))
    )
