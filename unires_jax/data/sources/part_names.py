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
windscreen mirror headlight taillight light lamp grille license plate number plate
roof seat saddle handlebar pedal chain fork frame body engine exhaust pipe kickstand
basket rack mudguard fuselage cockpit nose propeller rotor rudder stabilizer landing gear
deck hull mast sail bow stern cabin carriage coach cab bed cargo wiper track antenna"""
_THING = """handle lid cap neck base bottom top side edge corner rim body label screen
keyboard touchpad trackpad key button knob dial speaker cord cable switch stand leg
armrest arm back backrest cushion seat rung slat drawer shelf door tabletop surface
blade tip tine prong face hand number pendulum canopy shaft rib strap handle zipper
pocket wheel string head grip throat rudder tail fin nose toe binding deck truck page
spine cover crust slice filling topping icing frosting layer bun sausage lettuce peel
stem leaf floret core stalk seed hole pot soil petal flower faucet tap drain basin
counter tank flush bowl lever burner rack grill vent freezer bristle nozzle hose crown
pole post sign panel border frame hinge spout leg brim interior inside"""

# Plurals that a rule would miss.
_IRREGULAR = {"feet": "foot", "teeth": "tooth", "leaves": "leaf", "hooves": "hoof"}
_KEPT = ("pants", "shorts", "glasses", "goggles")  # without a singular
_TWO = ("license plate", "number plate", "landing gear")
LEXICON = frozenset(
    {w for words in (_BODY, _ANIMAL, _WEAR, _VEHICLE, _THING) for w in words.split()}
    - {w for pair in _TWO for w in pair.split()}
    | {*_TWO, "number"}
)
_WORDS = re.compile(r"[a-z]+(?:'s\b)?|'s\b")


def part_name(sentence: str) -> str:
    """The part named, in the singular; UNNAMED if the lexicon knows none of it."""
    words = _WORDS.findall(sentence.lower().replace("’", "'"))
    if "of" in words:
        found = _named(words[: words.index("of")])
        if found:
            return found[-1]
    owners = [i for i, w in enumerate(words) if w.endswith("'s")]
    if owners:
        found = _named(words[owners[-1] + 1 :])
        if found:
            return found[-1]
    found = _named(words)
    return found[-1] if found else UNNAMED


def _named(words: list[str]) -> list[str]:
    single = [_singular(w) for w in words]
    found: list[str] = []
    for i, word in enumerate(single):
        pair = f"{single[i - 1]} {word}" if i else ""
        if pair in LEXICON:
            found.append(pair)
        elif word in LEXICON:
            found.append(word)
    return found


def _singular(word: str) -> str:
    if word in _IRREGULAR or word in _KEPT:
        return _IRREGULAR.get(word, word)
    for end, put in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x")):
        if word.endswith(end):
            return word.removesuffix(end) + put
    if word in LEXICON or not word.endswith("s") or word.endswith("ss"):
        return word
    return word[:-1]
