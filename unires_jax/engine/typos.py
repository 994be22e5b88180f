"""One typing error in a text: what people's sentences have. Source: ours."""

import dataclasses
from random import Random

from unires_jax.engine.english import plural
from unires_jax.engine.record import Text

RATE = 50  # one text in so many
_LONG = 4  # letters of a word that may be mistyped


def mistyped(text: Text, spared: str, r: Random) -> Text:
    """The text, one time in RATE with a letter doubled, lost or swapped with the next.

    The clean text is then its `of`. Words of `spared` and their plurals stay right.
    """
    words = text.text.split(" ")
    right = {form for w in spared.split() for form in (w, plural(w))}
    long = [
        i
        for i, w in enumerate(words)
        if len(w) >= _LONG and w.isalpha() and w not in right
    ]
    if r.randrange(RATE) or not long:
        return text
    i = r.choice(long)
    word, at = words[i], r.randrange(1, len(words[i]) - 1)
    words[i] = r.choice(
        (
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )
    return dataclasses.replace(text, text=" ".join(words), of=text.text)
