"""One record to one training row: draw expressions, augment, rasterise, tokenise."""

import dataclasses
import json
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from unires_jax.config import Config, mask_grid
from unires_jax.data import transforms
from unires_jax.data.raster import Region
from unires_jax.data.records import PART, DataError, Expression, Record
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.data.transforms import Placement

CROP_TRIES = 4  # ours


class Row(NamedTuple):
    """One image of a batch (fields as `pipeline.Batch`, without its first axis)."""

    image: UInt8[np.ndarray, "H W 3"]
    extent: Int32[np.ndarray, "2"]
    tokens: Int32[np.ndarray, "k l"]
    lengths: Int32[np.ndarray, "k"]
    masks: UInt8[np.ndarray, "k g g"]
    valid: Bool[np.ndarray, "k"]
    no_target: Bool[np.ndarray, "k"]
    level: Int32[np.ndarray, "k"]
    rejected: str = ""  # JSON {"record", "reason"} if skipped: the row is then blank


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
    """The random map of the pipeline: `(record, rng) -> Row`.

    A record that cannot be used becomes a blank row whose `rejected` says why, so that
    neither order nor random draws of the others change.
    """

    config: Config
    tokenizer: Tokenizer
    length: int  # l, tokens of every row

    def __call__(self, record: Record, rng: np.random.Generator) -> Row:
        """The training row of a record, decided by `rng` alone."""
        try:
            return self._row(record, rng)
        except DataError as error:
            name = f"{record.source} image {record.image_id} ({record.filename})"
            return self._blank(json.dumps({"record": name, "reason": str(error)}))

    def _row(self, record: Record, rng: np.random.Generator) -> Row:
        data, grid = self.config.data, mask_grid(self.config.model)
        drawn = draw_expressions(
            record.expressions, data.expressions, data.part_share, rng
        )
        pixels = transforms.decode_image(record.image)
        if pixels.shape[:2] != (record.height, record.width):
            raise DataError(
                f"image: is {pixels.shape[0]} x {pixels.shape[1]} pixels, expected "
                f"image/height x image/width = {record.height} x {record.width}; "
                "picture and masks belong to different copies"
            )
        regions = [_region(record, x) for x in drawn]
        placement, sentences = self._augment(record, drawn, rng)
        row = self._blank()
        row.extent[:] = placement.height, placement.width
        for i, (x, region) in enumerate(zip(drawn, regions, strict=True)):
            row.masks[i] = region.quantized(placement, grid)
            row.no_target[i], row.level[i], row.valid[i] = x.no_target, x.level, True
        if drawn:
            context = self.config.model.text.context
            tokens, lengths = self.tokenizer.encode(sentences, context, (self.length,))
            row.tokens[: len(drawn)], row.lengths[: len(drawn)] = tokens, lengths
        return row._replace(image=transforms.draw(pixels, placement))

    def _augment(
        self, record: Record, drawn: list[Expression], rng: np.random.Generator
    ) -> tuple[Placement, list[str]]:
        data, size = self.config.data, self.config.model.image_size
        sentences = [x.sent for x in drawn]
        flip = rng.random() < data.flip and transforms.may_flip(sentences)
        crop = None
        if rng.random() < data.crop and transforms.may_crop(sentences):
            crop = self._crop(record, drawn, rng)
        if flip:
            sentences = [transforms.mirrored(s) for s in sentences]
        return transforms.place(
            record.height, record.width, size, crop, flip
        ), sentences

    def _crop(
        self, record: Record, drawn: list[Expression], rng: np.random.Generator
    ) -> tuple[int, int, int, int] | None:
        """A random box in which every drawn target keeps its share, or none."""
        height, width = record.height, record.width
        targets = sorted({t for x in drawn for t in x.targets})
        regions = [Region([record.masks[t].rle], height, width) for t in targets]
        areas = [r.area() for r in regions]
        keep = self.config.data.crop_keep
        for _ in range(CROP_TRIES):
            box = transforms.random_crop(height, width, rng)
            if all(
                r.area(box) >= keep * a for r, a in zip(regions, areas, strict=True)
            ):
                return box
        return None

    def _blank(self, rejected: str = "") -> Row:
        model, k = self.config.model, self.config.data.expressions
        size, grid = model.image_size, mask_grid(model)
        tokens = np.full((k, self.length), self.tokenizer.eos, np.int32)
        tokens[:, 0] = self.tokenizer.sos
        return Row(
            image=np.broadcast_to(np.array(transforms.PAD, np.uint8), (size, size, 3)),
            extent=np.full(2, size, np.int32),
            tokens=tokens,
            lengths=np.full(k, 2, np.int32),
            masks=np.zeros((k, grid, grid), np.uint8),
            valid=np.zeros(k, bool),
            no_target=np.zeros(k, bool),
            level=np.zeros(k, np.int32),
            rejected=rejected,
        )


def _region(record: Record, expression: Expression) -> Region:
    """The expression's pixels. Raises DataError naming expression and field."""
    field = f"expressions (sent_id {expression.sent_id}) {expression.sent!r}"
    if any(not 0 <= t < len(record.masks) for t in expression.targets):
        raise DataError(
            f"{field}: targets {expression.targets} of {len(record.masks)} masks"
        )
    try:
        rles = [record.masks[t].rle for t in expression.targets]
        region = Region(rles, record.height, record.width)
    except DataError as error:
        names = [record.masks[t].ann_id for t in expression.targets]
        raise DataError(f"{field}: masks (ann_id {names}): {error}") from None
    if not expression.no_target and not region.area():
        raise DataError(f"{field}: its masks are empty and it is not marked no_target")
    return region
