"""The stage `captions`: what a model says of each region. Source: ours."""

import dataclasses

import numpy as np

from unires_jax.engine import boxes
from unires_jax.engine.halving import halving
from unires_jax.engine.record import Picture, Region, Text
from unires_jax.engine.roles import Caption, Captioner, Image
from unires_jax.engine.segmenting import source
from unires_jax.engine.stages import Context

_RAW = 1000  # characters of a model's words that are kept: some never end; ours
# Quotes and points around a text, no part of it.
_MARKS = " \"'`*.,;:!\u201c\u201d\u2018\u2019"


def advance(picture: Picture, image: Image, context: Context) -> Picture:
    """The picture with a caption on each region that has a mask.

    The model is asked about the prompt, which a bad mask does not change. Raises
    OutOfMemory where there is no room for one region.
    """
    captioner: Captioner | None = context.models.get("captioner")
    masked = [region for region in picture.regions if region.rle]
    if captioner is None or not masked:
        return picture
    places = [boxes.clip(region.box, *image.shape[:2]) for region in masked]
    captions = halving(
        lambda some: captioner.caption(image, np.array(some, np.float32)),
        places,
        context.config.models.batch,
    )
    texts = {
        region.id: _text(region, caption, source(captioner))
        for region, caption in zip(masked, captions, strict=True)
    }
    regions = (
        dataclasses.replace(region, texts=(*region.texts, texts[region.id]))
        if region.id in texts
        else region
        for region in picture.regions
    )
    return dataclasses.replace(picture, regions=tuple(regions))


def _text(region: Region, caption: Caption, src: str) -> Text:
    # A lone surrogate cannot be written.
    raw = caption.text[:_RAW].encode(errors="replace").decode()
    return Text(
        text=clean(raw),
        form="caption",
        targets=(region.id,),
        src=src,
        raw=raw,
        scores={"logprob": float(caption.logprob)},
    )


def clean(raw: str) -> str:
    """A model's words as one line, without quotes and points around them.

    What is wrong with them stays: `checks` has a code for it.
    """
    return " ".join(raw.split()).strip(_MARKS)
