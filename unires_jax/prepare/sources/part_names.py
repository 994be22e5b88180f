"""The part that a sentence is about, by a lexicon.

RefCOCOm's files do not name the part. The rule is ours: what stands before the first
"of", what follows a possessive, else the last part named ("the left dog's head").
"""

import re

UNNAMED = "(unnamed)"

_BODY = """head face hair ear eye eyebrow nose mouth lip tooth tongue chin cheek beard
mustache forehead neck shoulder arm elbow forearm wrist hand finger thumb palm chest
breast torso body back waist belly stomach hip butt bottom leg thigh knee calf ankle
foot toe heel skin"""
_ANIMAL = """tail paw hoof horn trunk tusk snout muzzle beak bill wing feather claw fur
mane fin whisker hump udder"""
_WEAR = """shirt sleeve collar pants shorts skirt dress jacket coat hood pocket button
zipper hat cap helmet glasses goggles glove shoe boot sock lace sole tie belt strap
buckle watch scarf"""
_VEHICLE = """wheel tire rim spoke hub fender bumper hood trunk door window windshield
windscreen mirror headlight taillight light lamp grille
roof seat saddle handlebar pedal chain fork frame body engine exhaust pipe kickstand
basket rack mudguard fuselage cockpit nose propeller rotor rudder stabilizer
deck hull mast sail bow stern cabin carriage coach cab bed cargo wiper track antenna"""
_THING = """handle lid cap neck base bottom rim body label screen
keyboard touchpad trackpad key button knob dial speaker cord cable switch stand leg
armrest arm back backrest cushion seat rung slat drawer shelf door tabletop surface
blade tip tine prong face hand pendulum canopy shaft rib strap handle zipper
pocket wheel string head grip throat rudder tail fin nose toe binding deck truck page
spine cover crust slice filling topping icing frosting layer bun sausage lettuce peel
stem leaf floret core stalk seed hole pot soil petal flower faucet tap drain basin
counter tank flush bowl lever burner rack grill vent freezer bristle nozzle hose crown
pole post sign panel border frame hinge spout leg brim interior inside"""

_IRREGULAR = {"feet": "foot", "teeth": "tooth", "leaves": "leaf", "hooves": "hoof"}
_TWO = ("license plate", "number plate", "landing gear")
LEXICON = frozenset(
    {w for words in (_BODY, _ANIMAL, _WEAR, _VEHICLE, _THING) for w in words.split()}
    | {*_TWO}
)
_WORDS = re.compile(r"[a-z]+(?:'s\b)?|'s\b")


def part_name(sentence: str) -> str:
    """The part named, in the singular; UNNAMED if the lexicon knows none of it."""
    words = _WORDS.findall(sentence.lower().replace("\u2019", "'"))
    owners = [i for i, w in enumerate(words) if w.endswith("'s")]
    phrases = [words]
    if owners:
        phrases.insert(0, words[owners[-1] + 1 :])
    if "of" in words:
        phrases.insert(0, words[: words.index("of")])
    return next((names[-1] for names in map(_named, phrases) if names), UNNAMED)


def _named(words: list[str]) -> list[str]:
    single = [_singular(w) for w in words]
    names: list[str] = []
    for i, word in enumerate(single):
        pair = f"{single[i - 1]} {word}" if i else ""
        if pair in LEXICON:
            names.append(pair)
        elif word in LEXICON:
            names.append(word)
    return names


def _singular(word: str) -> str:
    """The form of a word that the lexicon knows, else the word without its s."""
    forms = (word, _IRREGULAR.get(word, ""), word[:-1], word[:-2], f"{word[:-3]}y")
    if word.endswith("s") or word in _IRREGULAR:
        return next((f for f in forms if f in LEXICON), word.removesuffix("s"))
    return word
