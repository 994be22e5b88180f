"""English for names of things: plurals, articles, owners. Source: ours.

Names are those of data sets: "wine glass", "sports ball", "left_arm".
"""


def words(text: str) -> frozenset[str]:
    """The words of a list without commas."""
    return frozenset(text.split())


IRREGULAR = {
    **{"person": "people", "man": "men", "woman": "women", "child": "children"},
    **{"foot": "feet", "tooth": "teeth", "goose": "geese", "mouse": "mice"},
    **{"ox": "oxen", "policeman": "policemen", "fireman": "firemen"},
    **{"snowman": "snowmen", "knife": "knives", "wife": "wives", "life": "lives"},
    **{"leaf": "leaves", "shelf": "shelves", "loaf": "loaves", "half": "halves"},
    **{
        "hoof": "hooves",
        "calf": "calves",
        "wolf": "wolves",
        "scarf": "scarves",
        "thief": "thieves",
    },
    **{"bookshelf": "bookshelves", "potato": "potatoes", "tomato": "tomatoes"},
    **{"mango": "mangoes", "buffalo": "buffaloes", "cactus": "cacti"},
}
_UNCHANGED = words(
    "sheep fish deer moose bison aircraft spacecraft broccoli shrimp salmon tuna "
    "series species hair fruit bread rice pasta cheese meat luggage furniture "
    "clothing fur skin foliage text embroidery"
)
# One thing (or one mask) whose name is a plural.
_PAIRS = words(
    "scissors pliers tongs tweezers pants trousers jeans shorts tights leggings skis "
    "glasses sunglasses goggles headphones binoculars pajamas overalls clothes"
)
_SINGULAR_S = words("bus gas lens canvas iris christmas")
_VOWEL_SOUND = ("hour", "honest", "heir")
_CONSONANT_SOUND = ("uni", "use", "usu", "one", "once", "eu", "ute")
ARTICLES = ("a", "an", "the")


def is_plural(noun: str) -> bool:
    """Whether a name is a plural already: "sunglasses", "people"."""
    last = noun.split()[-1]
    if last in _PAIRS or last in IRREGULAR.values():
        return True
    ends = last.endswith("s") and not last.endswith(("ss", "us", "is"))
    return ends and last not in _SINGULAR_S and last not in _UNCHANGED


def plural(noun: str) -> str:
    """The plural of a name: of its last word, or of that before "of"."""
    head, of, rest = noun.partition(" of ")
    *first, last = head.split()
    return " ".join((*first, _plural(last))) + of + rest


def _plural(word: str) -> str:
    if word in _UNCHANGED or is_plural(word):
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def with_article(words: str) -> str:
    """The words with "a" or "an", as they sound."""
    vowel = words[:1].lower() in "aeiou" and not words.startswith(_CONSONANT_SOUND)
    return f"{'an' if vowel or words.startswith(_VOWEL_SOUND) else 'a'} {words}"


def without_article(words: str) -> str:
    """The words without the article that they begin with."""
    first, _, rest = words.partition(" ")
    return rest if first.lower() in ARTICLES and rest else words


def owner(noun: str) -> str:
    """The name of what owns: "car's", "glasses'"."""
    return noun + ("'" if noun.endswith("s") and is_plural(noun) else "'s")


def number(count: int) -> str:
    """Of two to ten things."""
    words = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return words[count - 2]


def nth(position: int) -> str:
    """ "first" to "tenth"."""
    words = "first second third fourth fifth sixth seventh eighth ninth tenth"
    return words.split()[position - 1]
