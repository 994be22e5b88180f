"""Records to training batches: draw expressions, augment, rasterise, tokenise."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from unires_jax.config import Config, mask_grid, preprocessing, training_model
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
        model, k = training_model(self.config.model), self.config.data.expressions
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
        crop, true = None, record.expressions
        if data.crop_drops and rng.random() < data.crop:
            crop, true = self._close_up(record, rng)
        expressions = draw_expressions(true, data.expressions, data.part_share, rng)
        pixels = decode_record_image(record)
        targets = _targets(record, expressions)
        masks = [_denoted(record, x, targets) for x in expressions]
        placement, sentences = self._augment(
            record, expressions, targets.values(), crop, rng
        )
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
            row.no_target[i], row.level[i], row.valid[i] = x.no_target, x.level, read[i]

    def _fits(self, ids: Sequence[int]) -> bool:
        return len(ids) + self.tokenizer.around <= self.length

    def _augment(
        self,
        record: Record,
        expressions: Sequence[Expression],
        targets: Collection[RunMask],
        crop: Box | None,
        rng: np.random.Generator,
    ) -> tuple[Placement, list[str]]:
        """The place on the canvas, and the sentences as they are true there."""
        data, size = self.config.data, training_model(self.config.model).image_size
        sentences = [x.sent for x in expressions]
        flip = rng.random() < data.flip and augment.may_flip(sentences)
        crops = not data.crop_drops and rng.random() < data.crop
        if crops and augment.may_crop(sentences):
            crop = self._crop(record, targets, rng)
        if flip:
            sentences = [augment.mirrored(s) for s in sentences]
        height, width = record.height, record.width
        side = augment.shrunk(size, data.shrink, rng) if data.shrink else size
        return place(height, width, size, crop, flip, side), sentences

    def _crop(
        self, record: Record, targets: Collection[RunMask], rng: np.random.Generator
    ) -> Box | None:
        """A random box in which every drawn target keeps its share, or none."""
        for _ in range(CROP_TRIES):
            box = self._box(record, rng)
            if all(self._keeps(target, box) for target in targets):
                return box
        return None

    def _close_up(
        self, record: Record, rng: np.random.Generator
    ) -> tuple[Box | None, tuple[Expression, ...]]:
        """A random box, and the expressions that are true in it; the whole, and all.

        True are those that name no place and whose targets keep their share; some must.
        """
        stable = [x for x in record.expressions if augment.may_crop([x.sent])]
        targets = _targets(record, stable)
        for _ in range(CROP_TRIES):
            box = self._box(record, rng)
            kept = {i for i, target in targets.items() if self._keeps(target, box)}
            true = tuple(x for x in stable if kept.issuperset(x.targets))
            if any(x.targets for x in true):
                return box, true
        return None, record.expressions

    def _box(self, record: Record, rng: np.random.Generator) -> Box:
        return augment.random_crop(
            record.height, record.width, self.config.data.crop_side, rng
        )

    def _keeps(self, target: RunMask, box: Box) -> bool:
        """Whether a box shows enough of a target."""
        return (
            cells.area_within(target, box) >= self.config.data.crop_keep * target.area
        )


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
