"""The stage of sentences: from captions and geometry, texts that mean one thing.

No model is asked, and a picture's texts depend on it and on the seed alone. Captions
stay, mended; those that say no more than a name which several things have are marked
T4, and texts that were said of two things T3. Source: ours (the paper's texts are
region captions, section 4.2; nothing there says that they name one thing).
"""

import collections
import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random

from unires_jax.data.predicates import extreme, placed
from unires_jax.engine import mending, negatives, sayings, typos
from unires_jax.engine.bare_parts import bare_parts
from unires_jax.engine.colours import COLOURS, Palette
from unires_jax.engine.english import ARTICLES
from unires_jax.engine.lexemes import is_bare
from unires_jax.engine.nouns import WIDER, also, part_name, spoken
from unires_jax.engine.phrases import Phrase
from unires_jax.engine.record import Picture, Region, Text, level_of
from unires_jax.engine.roles import Image
from unires_jax.engine.sayings import Name
from unires_jax.engine.scene import Scene, Thing, arrange
from unires_jax.engine.settings import ExpressionSettings
from unires_jax.engine.singling import (
    groups,
    groups_widely,
    singling,
    singling_widely,
)
from unires_jax.engine.stages import Context

DOUBLED, AMBIGUOUS = "T3", "T4"
TOGETHER = 2  # parts that are named of several objects at once
PAIRS = 0.5  # share of pictures of which two things are named together

Texts = dict[str, list[Text]]  # new ones, by id of region


def advance(picture: Picture, image: Image, context: Context) -> Picture:
    """The picture with texts; nothing that was there is taken away.

    Raises DataError for a mask that is not the picture's.
    """
    config = context.config
    r = Random(f"expressions/{config.seed}/{picture.image_id}")
    scene = arrange(picture, config.thresholds.twin)
    palette = Palette(image, config.expressions.colour_share)
    regions = _with_mended(picture, scene, palette)
    vocabulary = _vocabulary(context, scene)
    texts = _said(scene, palette, regions, vocabulary, config.expressions, r)
    regions = [
        dataclasses.replace(x, texts=(*x.texts, *texts.get(x.id, ()))) for x in regions
    ]
    regions = _with_doubles_marked(regions)
    if config.expressions.typos:
        r = Random(f"typos/{config.seed}/{picture.image_id}")
        regions = [_mistyped(x, r) for x in regions]
    return dataclasses.replace(picture, regions=tuple(regions))


def _vocabulary(context: Context, scene: Scene) -> dict[str, list[str]]:
    """Names of parts of the picture's categories; {} without a vocabulary."""
    role = context.models.get("vocabulary")
    return {c: role.parts(c) for c in scene.categories} if role else {}


def _said(
    scene: Scene,
    palette: Palette,
    regions: Sequence[Region],
    vocabulary: Mapping[str, Sequence[str]],
    settings: ExpressionSettings,
    r: Random,
) -> Texts:
    """All new texts of a picture."""
    texts = collections.defaultdict[str, list[Text]](list)
    names = _names(scene, palette, {x.id: x for x in regions}, r)
    for i, its_names in names.items():
        thing = scene.objects[i]
        _add(texts, thing.region.id, sayings.of_object(thing, its_names, r))
    for part, its_owner in _named_parts(scene, names):
        siblings = [p for p in _siblings(scene, part) if p is not part]
        name = part_name(part.region.part)
        colour = palette.colour(part.mask) if name.worn else ""
        said = sayings.of_part(
            part, siblings, its_owner, colour, settings.paraphrases, r
        )
        _add(texts, part.region.id, said)
        if name.side or sayings.is_ambiguous(name, siblings):
            side = _side(scene, part)
            _add(texts, part.region.id, sayings.of_viewer(part, side, r))
    for part, phrases in bare_parts(scene, vocabulary):
        if phrases:
            bare = sayings.of_bare_part(part, r.choice(phrases), r)
            _add(texts, part.region.id, [bare])
    if settings.plurals:
        for region, text in _plurals(scene, palette, names, r):
            _add(texts, region, [text])
    for negative in _negatives(
        scene, palette, names, vocabulary, settings.negatives, regions, texts, r
    ):
        _add(texts, negative.region, [negative.text])
    return texts


def _add(texts: Texts, region: str, said: Iterable[Text | None]) -> None:
    """To a region's texts, each wording once."""
    known = {key(t.text) for t in texts[region]}
    for text in said:
        if text and key(text.text) not in known:
            known.add(key(text.text))
            texts[region].append(text)


def key(text: str) -> str:
    """What two texts share that a reader takes for the same."""
    words = re.findall(r"[\w']+", text.lower())
    return " ".join(w for w in words if w not in ARTICLES)


def _names(
    scene: Scene, palette: Palette, regions: Mapping[str, Region], r: Random
) -> dict[int, list[Name]]:
    """Of each object with a mask, by its place in the scene."""
    names: dict[int, list[Name]] = {}
    nouns = {spoken(c) for c in (*scene.categories, *scene.crowded)}
    for category in scene.categories:
        for i, phrases in singling(scene, palette, category).items():
            thing, noun = scene.objects[i], spoken(category)
            synonym = also(category) if also(category) not in nouns else ""
            if thing.mask is None:
                continue
            region = regions[thing.region.id]
            caption, given = (_core(region, noun, form) for form in sayings.READY)
            if is_bare(given, (noun,)):
                given = ""
            names[i] = sayings.choose_names(phrases, noun, synonym, caption, given, r)
    for wide in WIDER:
        for i, phrases in singling_widely(scene, palette, wide).items():
            if phrases and i in names:
                names[i].append(Name(r.choice(phrases), wide, wide=True))
    return dict(sorted(names.items()))


def _core(region: Region, noun: str, form: str) -> str:
    """The first text of a form that can stand for the object's name."""
    cores = (
        mending.core(t.text, noun)
        for t in region.texts
        if t.form == form and t.targets == (region.id,)
    )
    return next(filter(None, cores), "")


def _named_parts(
    scene: Scene, names: Mapping[int, Sequence[Name]]
) -> Iterator[tuple[Thing, Sequence[Name]]]:
    """Parts with the names of their objects; one without an object needs none."""
    by_id = {scene.objects[i].region.id: n for i, n in names.items()}
    for part in scene.parts:
        region = part.region
        if region.parent:
            yield part, by_id.get(region.parent, ())
        elif _is_lone(scene, part):
            yield part, [Name(Phrase("template"), spoken(region.category))]


def _is_lone(scene: Scene, part: Thing) -> bool:
    """Whether a part without an object is the only such part, of at most one object."""
    category = part.region.category
    alike = [p for p in scene.parts if p.region.category == category]
    same = [p for p in alike if p.region.part == part.region.part]
    noun = spoken(category)
    countable = scene.exhaustive and scene.clear(noun)
    return countable and len(same) == 1 and len(scene.called(noun)) < 2


def _siblings(scene: Scene, part: Thing) -> list[Thing]:
    """All parts of the same object."""
    parent = part.region.parent
    return [p for p in scene.parts if p.region.parent == parent] if parent else [part]


def _side(scene: Scene, part: Thing) -> str:
    """Words for the side on which a part lies, of all of its noun; "": no side.

    Only for an object that is alone: others may have the part without a mask.
    """
    if not scene.alone(part.region.category):
        return ""
    noun = part_name(part.region.part).noun
    alike = [p for p in scene.parts if part_name(p.region.part).noun == noun]
    spots, place = [p.whole for p in alike], alike.index(part)
    for side in ("left", "right"):
        if placed(side, False, scene, spots)[place]:
            return f"on the {side} side of the picture"
        if extreme(side, scene, spots)[place]:
            return f"furthest to the {side}"
    return ""


def _plurals(
    scene: Scene, palette: Palette, names: Mapping[int, Sequence[Name]], r: Random
) -> Iterator[tuple[str, Text | None]]:
    """Texts about several objects, or one part of each, at the first one's region."""
    quantity = functools.partial(sayings.quantity, r=r)
    called = [(c, groups(scene, palette, c, quantity)) for c in scene.categories]
    called += [(w, groups_widely(scene, palette, w, quantity)) for w in WIDER]
    for category, group in ((c, group) for c, those in called for group in those):
        things = [scene.objects[i] for i in group[1]]
        if any(t.mask is None for t in things):
            continue
        ids = [t.region.id for t in things]
        yield ids[0], sayings.of_several(group, ids, category, r)
        shared = _shared_parts(scene, ids)
        for parts in r.sample(shared, min(TOGETHER, len(shared))):
            said = sayings.of_several_parts(group, parts, category, r)
            yield parts[0].region.id, said
    kinds = collections.defaultdict[str, list[int]](list)
    for i in names:
        kinds[scene.objects[i].region.category].append(i)
    if len(kinds) > 1 and r.random() < PAIRS:
        pair = [r.choice(kinds[kind]) for kind in r.sample(sorted(kinds), 2)]
        ids = [scene.objects[i].region.id for i in pair]
        yield ids[0], sayings.of_two([names[i] for i in pair], ids, r)


def _shared_parts(scene: Scene, ids: Sequence[str]) -> list[list[Thing]]:
    """Of each part that every one of these objects has once, the parts."""
    by_name = collections.defaultdict[str, list[Thing]](list)
    for part in scene.parts:
        if part.region.parent in ids:
            by_name[part_name(part.region.part).full].append(part)
    nouns = collections.Counter(part_name(n).noun for n in by_name)
    return [
        parts
        for name, parts in sorted(by_name.items())
        if sorted(p.region.parent for p in parts) == sorted(ids)
        and nouns[part_name(name).noun] == 1
        and not part_name(name).side
    ]


def _negatives(
    scene: Scene,
    palette: Palette,
    names: Mapping[int, Sequence[Name]],
    vocabulary: Mapping[str, Sequence[str]],
    share: float,
    regions: Sequence[Region],
    texts: Texts,
    r: Random,
) -> list[negatives.Negative]:
    """As many as make `share` of each level's texts, where there are so many."""
    if not 0 < share < 1:
        return []
    said, counts = list[Text](), collections.Counter[str]()
    for x in regions:
        its = [*(t for t in x.texts if t.keep), *texts.get(x.id, ())]
        said += its
        counts[x.level] += len(its)
    for level, count in sorted(counts.items()):
        wanted = count * share / (1 - share)
        counts[level] = int(wanted) + (r.random() < wanted % 1)
    known = {key(t.text) for t in said}
    colours = collections.Counter(
        c
        for t in said
        if t.form in ("colour", "joint")
        for c in COLOURS
        if c in t.text.split()
    )
    possible = [
        n
        for n in negatives.swaps(scene, palette, names, colours, vocabulary, r)
        if key(n.text.text) not in known
    ]
    return negatives.choose(possible, counts, colours, r)


def _with_mended(picture: Picture, scene: Scene, palette: Palette) -> list[Region]:
    """Regions whose captions say no colour that is not there."""
    things = {t.region.id: t for t in (*scene.objects, *scene.parts)}
    return [
        dataclasses.replace(
            x, texts=tuple(_mended(t, x, things, scene, palette) for t in x.texts)
        )
        for x in picture.regions
    ]


def _mended(
    text: Text,
    region: Region,
    things: Mapping[str, Thing],
    scene: Scene,
    palette: Palette,
) -> Text:
    thing = things.get(region.id)
    if text.form != "caption" or thing is None or thing.mask is None:
        return text
    noun = spoken(region.category)
    masks = {
        part_name(t.region.part).noun: t.mask
        for t in things.values()
        if t.mask and region.id in (t.region.parent, t.region.id) and t.region.part
    }
    owner = things.get(region.parent or region.id)
    if owner and owner.mask:
        masks[noun] = owner.mask
    words = mending.mended(text.text, thing.mask, masks, palette)
    alone = scene.alone(region.category)
    nouns = (noun, part_name(region.part).full) if region.part else (noun,)
    # Without the colour "the red car", "the red vehicle" and "the car behind the red
    # bus" may fit another.
    lost = words != text.text and not (alone and mending.core(words, noun))
    if lost or (is_bare(words, nouns) and not alone):
        text = dataclasses.replace(text, keep=False, codes=(*text.codes, AMBIGUOUS))
    if words == text.text:
        return text
    return dataclasses.replace(text, text=words, raw=text.raw or text.text)


def _with_doubles_marked(regions: Sequence[Region]) -> list[Region]:
    """Texts that were said of two things of a level are marked, all of them."""
    meant = collections.defaultdict[tuple[str, str], set[tuple[str, ...]]](set)
    for x in regions:
        for t in x.texts:
            meant[level_of(x, t), key(t.text)].add(tuple(sorted(t.targets)))

    def marked(x: Region, t: Text) -> Text:
        if len(meant[level_of(x, t), key(t.text)]) < 2 or DOUBLED in t.codes:
            return t
        return dataclasses.replace(t, keep=False, codes=(*t.codes, DOUBLED))

    return [
        dataclasses.replace(x, texts=tuple(marked(x, t) for t in x.texts))
        for x in regions
    ]


def _mistyped(region: Region, r: Random) -> Region:
    spared = part_name(region.part).noun  # a text without it is none of the part
    texts = (typos.mistyped(t, spared, r) if t.keep else t for t in region.texts)
    return dataclasses.replace(region, texts=tuple(texts))
