"""Records to training batches: draw expressions, augment, rasterise, tokenise."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from unires_jax.config import Config, mask_grid, preprocessing
from unires_jax.data import augment, records
from unires_jax.data.batch import Batch
from unires_jax.data.records import PART, Expression, Record, decode_record_image
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import DataError
from unires_jax.pixels import cells
from unires_jax.pixels.canvas import Box, Placement, draw, place
from unires_jax.pixels.masks import RunMask

CROP_TRIES = 4  # ours

Rejected = tuple[str, str]  # name of an unusable record, and the reason


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
    balanced = int(count * part_share + rng.random())
    from_parts = min(len(parts), max(balanced, count - len(objects)))
    from_objects = min(len(objects), count - from_parts)
    draws = [objects[i] for i in rng.permutation(len(objects))[:from_objects]]
    draws += [parts[i] for i in rng.permutation(len(parts))[:from_parts]]
    return [sentences[rng.integers(len(sentences))] for sentences in draws]


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Makes batches of records, each with the seed that decides its random draws.

    A record that cannot be used leaves a blank row with nothing valid, so that neither
    the order nor the draws of the others change.
    """

    config: Config
    tokenizer: Tokenizer
    length: int  # l, tokens of every sentence
    cuts: bool = True  # longer sentences are cut; False: their rows are not valid

    def __call__(
        self, records: Sequence[tuple[Record, int]]
    ) -> tuple[Batch, list[Rejected]]:
        """The batch of (record, seed) pairs, and the records that left blank rows."""
        batch = self._blank(len(records))
        rejected = []
        for i, (record, seed) in enumerate(records):
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
        expressions = draw_expressions(
            record.expressions, data.expressions, data.part_share, rng
        )
        pixels = decode_record_image(record)
        targets = _targets(record, expressions)
        masks = [_denoted(record, x, targets) for x in expressions]
        placement, sentences, kept = self._augment(record, expressions, targets, rng)
        ids = self.tokenizer.ids(sentences)
        read = [self.cuts or self._fits(x) for x in ids]
        if count := len(ids):
            row.tokens[:count], row.lengths[:count] = self.tokenizer.pad(
                [x if r else [] for x, r in zip(ids, read, strict=True)],
                model.text.context,
                (self.length,),
            )
        row.extent[:] = placement.height, placement.width
        draw(pixels, placement, row.images, preprocessing(model).pad_colour)
        if data.colour:
            drawn = row.images[: placement.height, : placement.width]
            drawn[:] = augment.recoloured(drawn, data.colour, rng)
        for i, (x, mask) in enumerate(zip(expressions, masks, strict=True)):
            cells.quantize(mask, placement, row.masks[i])
            row.no_target[i], row.level[i] = x.no_target, x.level
            row.valid[i] = read[i] and kept[i]

    def _fits(self, ids: Sequence[int]) -> bool:
        return len(ids) + self.tokenizer.around <= self.length

    def _augment(
        self,
        record: Record,
        expressions: Sequence[Expression],
        targets: Mapping[int, RunMask],
        rng: np.random.Generator,
    ) -> tuple[Placement, list[str], list[bool]]:
        """The place on the canvas, the sentences there, and which are still true."""
        data, size = self.config.data, self.config.model.image_size
        sentences = [x.sent for x in expressions]
        flip = rng.random() < data.flip and augment.may_flip(sentences)
        crop, kept = None, [True] * len(expressions)
        if rng.random() < data.crop:
            crop, kept = self._crop(record, expressions, targets, rng)
        if flip:
            sentences = [augment.mirrored(s) for s in sentences]
        height, width = record.height, record.width
        side = augment.shrunk(size, data.shrink, rng) if data.shrink else size
        return place(height, width, size, crop, flip, side), sentences, kept

    def _crop(
        self,
        record: Record,
        expressions: Sequence[Expression],
        targets: Mapping[int, RunMask],
        rng: np.random.Generator,
    ) -> tuple[Box | None, list[bool]]:
        """A random box, if one will do, and which expressions are true in it."""
        data, every = self.config.data, [True] * len(expressions)
        anywhere = [augment.may_crop([x.sent]) for x in expressions]
        if not all(anywhere) and not data.crop_drops:
            return None, every
        height, width = record.height, record.width
        for _ in range(CROP_TRIES):
            box = augment.random_crop(height, width, data.crop_side, rng)
            inside = {
                i: cells.area_within(target, box) >= data.crop_keep * target.area
                for i, target in targets.items()
            }
            kept = [
                true and all(inside[t] for t in x.targets)
                for true, x in zip(anywhere, expressions, strict=True)
            ]
            some = any(k for k, x in zip(kept, expressions, strict=True) if x.targets)
            if all(kept) or (data.crop_drops and some):
                return box, kept
        return None, every


def _targets(record: Record, expressions: Sequence[Expression]) -> dict[int, RunMask]:
    """The pixels of every drawn target. Raises DataError naming mask and field."""
    targets: dict[int, RunMask] = {}
    for i in sorted({t for x in expressions for t in x.targets}):
        if not 0 <= i < len(record.masks):
            raise DataError(f"targets/mask: {i} of {len(record.masks)} masks")
        mask = record.masks[i]
        try:
            targets[i] = records.runs_of(record, mask)
        except DataError as error:
            raise error.at(f"masks[{i}] (ann_id {mask.ann_id})") from None
    return targets


def _denoted(
    record: Record, expression: Expression, targets: dict[int, RunMask]
) -> RunMask:
    """The expression's pixels: the union of its targets."""
    masks = [targets[t] for t in expression.targets]
    union = RunMask.union(masks, record.height, record.width)
    if not expression.no_target and not union.area:
        raise DataError(
            f"expression {expression.sent!r} (sent_id {expression.sent_id}): has no "
            "pixel to segment but is not marked no_target; its masks were lost"
        )
    return union
