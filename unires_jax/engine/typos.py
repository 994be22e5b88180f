"""One typing error in a text: what people's sentences have. Source: ours."""

import dataclasses
from random import Random

from unires_jax.engine.record import Text

RATE = 50  # one text in so many
_LONG = 4  # letters of a word that may be mistyped


def mistyped(text: Text, r: Random) -> Text:
    """The text, one time in RATE with a letter doubled, lost or swapped with the next.

    The clean text is then its `of`.
    """
    words = text.text.split(" ")
    long = [i for i, w in enumerate(words) if len(w) >= _LONG and w.isalpha()]
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
