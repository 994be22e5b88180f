"""Records to training batches: draw expressions, augment, rasterise, tokenise."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from unires_jax.config import Config, mask_grid, preprocessing
from unires_jax.data import augment
from unires_jax.data.records import PART, Expression, Record, decode_record_image
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import DataError
from unires_jax.pixels.canvas import Placement, draw, place
from unires_jax.pixels.cells import Region

CROP_TRIES = 4  # ours

Rejected = tuple[str, str]  # name of an unusable record, and the reason


class Batch(NamedTuple):
    """One process' share of a global batch, in host memory."""

    images: UInt8[np.ndarray, "b H W 3"]
    extent: Int32[np.ndarray, "b 2"]  # valid height and width on the canvas, pixels
    tokens: Int32[np.ndarray, "b k l"]
    lengths: Int32[np.ndarray, "b k"]  # with SOS and EOS; of no words where not valid
    masks: UInt8[np.ndarray, "b k g g"]  # round(255 * share of the cell covered)
    valid: Bool[np.ndarray, "b k"]  # False: nothing was there to draw
    no_target: Bool[np.ndarray, "b k"]
    level: Int32[np.ndarray, "b k"]


def draw_expressions(
    expressions: tuple[Expression, ...],
    count: int,
    part_share: float,
    rng: np.random.Generator,
) -> list[Expression]:
    """Draw up to `count` referents without replacement, then one sentence of each.

    `part_share` of the draws are parts (a fraction is rounded at random); where one
    level runs out the other fills up. Ours.
    """
    referents: tuple[dict[int, list[Expression]], ...] = ({}, {})
    for expression in expressions:
        group = referents[int(expression.level == PART)]
        group.setdefault(expression.ref_id, []).append(expression)
    objects, parts = (list(group.values()) for group in referents)
    wanted = int(count * part_share + rng.random())
    from_parts = min(len(parts), max(wanted, count - len(objects)))
    from_objects = min(len(objects), count - from_parts)
    drawn = [objects[i] for i in rng.permutation(len(objects))[:from_objects]]
    drawn += [parts[i] for i in rng.permutation(len(parts))[:from_parts]]
    return [sentences[rng.integers(len(sentences))] for sentences in drawn]


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Makes batches of records, each with the seed that decides its random draws.

    A record that cannot be used leaves a blank row with nothing valid, so that neither
    the order nor the draws of the others change.
    """

    config: Config
    tokenizer: Tokenizer
    length: int  # l, tokens of every sentence

    def __call__(
        self, drawn: Sequence[tuple[Record, int]]
    ) -> tuple[Batch, list[Rejected]]:
        """The batch of (record, seed) pairs, and the records that left blank rows."""
        batch = self._blank(len(drawn))
        rejected = []
        for i, (record, seed) in enumerate(drawn):
            row = Batch(*(array[i] for array in batch))
            try:
                self._fill(row, record, np.random.default_rng(seed))
            except DataError as error:
                row.images[:] = preprocessing(self.config.model).pad_colour
                name = f"{record.source} image {record.image_id} ({record.filename})"
                rejected.append((name, str(error)))
        return batch, rejected

    def _blank(self, images: int) -> Batch:
        model, k = self.config.model, self.config.data.expressions
        size, grid = model.image_size, mask_grid(model)
        tokens, lengths = self.tokenizer.pad([[]], self.length, (self.length,))
        return Batch(
            images=np.empty((images, size, size, 3), np.uint8),
            extent=np.full((images, 2), size, np.int32),
            tokens=np.tile(tokens, (images, k, 1)),
            lengths=np.tile(lengths, (images, k)),
            masks=np.zeros((images, k, grid, grid), np.uint8),
            valid=np.zeros((images, k), bool),
            no_target=np.zeros((images, k), bool),
            level=np.zeros((images, k), np.int32),
        )

    def _fill(self, row: Batch, record: Record, rng: np.random.Generator) -> None:
        """Fill one row; all that can fail comes before the first `valid`."""
        data, model = self.config.data, self.config.model
        drawn = draw_expressions(
            record.expressions, data.expressions, data.part_share, rng
        )
        pixels = decode_record_image(record)
        targets = _targets(record, drawn)
        regions = [_region(record, x, targets) for x in drawn]
        placement, sentences = self._augment(record, drawn, targets.values(), rng)
        if drawn:
            row.tokens[: len(drawn)], row.lengths[: len(drawn)] = self.tokenizer.encode(
                sentences, model.text.context, (self.length,)
            )
        row.extent[:] = placement.height, placement.width
        draw(pixels, placement, row.images, preprocessing(model).pad_colour)
        for i, (x, region) in enumerate(zip(drawn, regions, strict=True)):
            region.quantize(placement, row.masks[i])
            row.no_target[i], row.level[i], row.valid[i] = x.no_target, x.level, True

    def _augment(
        self,
        record: Record,
        drawn: Sequence[Expression],
        targets: Collection[Region],
        rng: np.random.Generator,
    ) -> tuple[Placement, list[str]]:
        data, size = self.config.data, self.config.model.image_size
        sentences = [x.sent for x in drawn]
        flip = rng.random() < data.flip and augment.may_flip(sentences)
        crop = None
        if rng.random() < data.crop and augment.may_crop(sentences):
            crop = self._crop(record, targets, rng)
        if flip:
            sentences = [augment.mirrored(s) for s in sentences]
        return place(record.height, record.width, size, crop, flip), sentences

    def _crop(
        self, record: Record, targets: Collection[Region], rng: np.random.Generator
    ) -> tuple[int, int, int, int] | None:
        """A random box in which every drawn target keeps its share, or none."""
        keep = self.config.data.crop_keep
        for _ in range(CROP_TRIES):
            box = augment.random_crop(record.height, record.width, rng)
            if all(t.area_within(box) >= keep * t.area for t in targets):
                return box
        return None


def _targets(record: Record, drawn: Sequence[Expression]) -> dict[int, Region]:
    """The pixels of every drawn target. Raises DataError naming mask and field."""
    targets: dict[int, Region] = {}
    for i in sorted({t for x in drawn for t in x.targets}):
        if not 0 <= i < len(record.masks):
            raise DataError(f"targets/mask: {i} of {len(record.masks)} masks")
        mask = record.masks[i]
        try:
            targets[i] = Region.from_rle(mask.rle, record.height, record.width)
        except DataError as error:
            raise DataError(f"masks[{i}] (ann_id {mask.ann_id}): {error}") from None
    return targets


def _region(
    record: Record, expression: Expression, targets: dict[int, Region]
) -> Region:
    """The expression's pixels: the union of its targets."""
    parts = [targets[t] for t in expression.targets]
    region = Region.union(parts, record.height, record.width)
    if not expression.no_target and not region.area:
        raise DataError(
            f"expression {expression.sent!r} (sent_id {expression.sent_id}): has no "
            "pixel to segment but is not marked no_target; its masks were lost"
        )
    return region
