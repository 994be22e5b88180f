"""The stage `objects`: a mask for each box of the plan. Source: ours."""

import dataclasses

from unires_jax.engine import boxes
from unires_jax.engine.record import OBJECT, Picture, Region
from unires_jax.engine.roles import Image
from unires_jax.engine.segmenting import Measured, segment, source
from unires_jax.engine.stages import Context
from unires_jax.pixels.masks import RunMask


def advance(picture: Picture, image: Image, context: Context) -> Picture:
    """The picture with a mask and its scores on each object that has a box.

    Crowds, what the plan has refused and boxes without any area are not asked for.
    Raises OutOfMemory where there is no room for one box.
    """
    segmenter = context.models["segmenter"]
    prompts = {
        region.id: box
        for region in picture.regions
        if _is_asked(region)
        and boxes.area(box := boxes.clip(region.box, *image.shape[:2]))
    }
    answers = segment(
        segmenter, image, list(prompts.values()), context.config.models.batch
    )
    masks = dict(zip(prompts, answers, strict=True))
    regions = (
        _masked(region, masks[region.id], source(segmenter))
        if region.id in masks
        else region
        for region in picture.regions
    )
    return dataclasses.replace(picture, regions=tuple(regions))


def _is_asked(region: Region) -> bool:
    refused = region.crowd or region.codes
    return region.level == OBJECT and not region.rle and not refused


def _masked(region: Region, answer: Measured, src: str) -> Region:
    runs = RunMask.from_pixels(answer.mask)
    return dataclasses.replace(
        region,
        rle=runs.counts if runs.area else "",
        area=runs.area,
        scores={**region.scores, **answer.scores},
        src={**region.src, "mask": src},
    )
