"""What rows of a table say of one picture, as its annotations. Source: ours."""

from collections.abc import Iterable, Sequence

from unires_jax import limits
from unires_jax.engine.part_sources.coco import split_name
from unires_jax.engine.part_sources.regions import Annotation
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.masks import RunMask

_Key = tuple[str, str]  # a label, and the text of a mask
_EACH = 500  # bytes of Python's own that a mask and a sentence take, about


class Things:
    """The masks of a picture with all that is said of each: one mask may stand in rows.

    `size` is the height and width in pixels that they have, None while there are none.
    """

    def __init__(self) -> None:
        self.size: tuple[int, int] | None = None
        self.bytes = 0  # that they take, about
        self._masks: dict[_Key, RunMask] = {}
        self._said: dict[_Key, dict[str, None]] = {}  # each sentence once
        self._sentences = 0

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """One for each mask and label, in the order in which they came."""
        return tuple(
            Annotation(
                key=number,
                mask=mask,
                category=split_name(label).category,
                part=split_name(label).part,
                captions=tuple(self._said[label, text]),
            )
            for number, ((label, text), mask) in enumerate(self._masks.items())
        )

    def add(
        self, masks: Sequence[RunMask], texts: Sequence[str], label: str = ""
    ) -> None:
        """Add what a row says.

        Of one mask all its sentences are said, of as many masks as sentences each its
        own, and one sentence means several masks together. Raises DataError for masks
        of another size than those before, other counts, where nothing is said, and
        beyond limits.MASKS or limits.EXPRESSIONS.
        """
        size = masks[0].height, masks[0].width
        if self.size is not None and self.size != size:
            raise DataError(
                f"its mask has {size[0]} x {size[1]} pixels, others of the picture "
                f"have {self.size[0]} x {self.size[1]}",
                kind=Kind.SIZE_DIFFERS,
            )
        if not texts and not label:
            raise DataError(
                "nothing is said of its mask: no sentence, no class; write one",
                kind=Kind.SENTENCE_EMPTY,
            )
        pairs: Iterable[tuple[RunMask, Sequence[str]]]
        if len(masks) == len(texts) or not texts:
            said = ([text] for text in texts) if texts else [[]] * len(masks)
            pairs = zip(masks, said, strict=True)
        elif len(masks) == 1 or len(texts) == 1:
            pairs = [(RunMask.union(list(masks), *size), texts)]
        else:
            raise DataError(
                f"{len(masks)} masks and {len(texts)} sentences: expected one mask, "
                "one sentence, or as many of both"
            )
        if len(self._masks) + len(masks) > limits.MASKS:
            raise DataError(f"more than {limits.MASKS} masks of one picture")
        if self._sentences + len(texts) > limits.EXPRESSIONS:
            raise DataError(f"more than {limits.EXPRESSIONS} sentences of one picture")
        self._sentences += len(texts)
        self.size = size
        for mask, words in pairs:
            key = label, mask.counts
            self._masks.setdefault(key, mask)
            self._said.setdefault(key, {}).update(dict.fromkeys(words))
            self.bytes += 2 * len(key[1]) + sum(map(len, words)) + _EACH
