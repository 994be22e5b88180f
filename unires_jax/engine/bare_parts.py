"""Parts that are named without their object: "the roof", "the left seat". Source: ours.

That is safe only where nothing unmarked may have such a part: all objects are marked,
and each that a vocabulary gives the part shows exactly one.
"""

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from unires_jax.engine.nouns import is_called, part_name, spoken
from unires_jax.engine.phrases import Phrase, places, single
from unires_jax.engine.scene import Scene, Thing


def bare_parts(
    scene: Scene, vocabulary: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Thing, list[Phrase]]]:
    """Parts, and phrases around their own noun that are true of them alone."""
    if scene.crowded or not scene.exhaustive:
        return
    nouns = {c: {part_name(p).noun for p in vocabulary[c]} for c in vocabulary}
    if not all(nouns.get(c) for c in scene.categories):
        return  # what such a thing has is not known
    by_noun = collections.defaultdict[str, list[Thing]](list)
    for part in scene.parts:
        by_noun[part_name(part.region.part).noun].append(part)
    for noun, alike in sorted(by_noun.items()):
        having = {
            o.region.id for o in scene.objects if noun in nouns[o.region.category]
        }
        shown = [p.region.parent for p in alike]
        one_of_each = sorted(having | {*shown}) == sorted(shown)
        if not one_of_each or _means_more(scene, noun, alike):
            continue
        beside = dataclasses.replace(scene, objects=tuple(alike))
        phrases: list[list[Phrase]] = [[] for _ in alike]
        if len(alike) == 1:
            phrases[0].append(Phrase("template"))
        every = range(len(alike))
        for i, phrase in single(every, places(beside, every)):
            phrases[i].append(phrase)
        yield from zip(alike, phrases, strict=True)


def _means_more(scene: Scene, noun: str, alike: Sequence[Thing]) -> bool:
    """Whether the noun is an object's, too, or tells its owner's left from right."""
    sided = any(part_name(p.region.part).side for p in alike)
    return sided or any(is_called(spoken(c), noun) for c in scene.categories)
