"""A page of training batches as the model sees them, in one file without others."""

import base64
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from unires_jax.config import Config, training_model
from unires_jax.data.batch import Batch
from unires_jax.data.pipeline import run_tokenizer, train_batches
from unires_jax.data.records import LEVELS
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.files import Location, locate, write_together
from unires_jax.pages import template

COLOURS = ((91, 110, 225), (194, 86, 143))  # object, part: as in the report
SIDE = 320  # of a picture on the page, pixels


def show(config: Config, out: str | os.PathLike[str], batches: int = 1) -> Location:
    """Write the first batches of a run to an HTML page, and the same facts as JSON.

    The page holds every canvas after augmentation, each expression's mask on the
    decoder's grid, and the sentence read back from its tokens. `out` is replaced only
    when all is written; the JSON lies beside it. Raises DataError as the pipeline does.
    """
    tokenizer, page = run_tokenizer(config), locate(out)
    stream = itertools.islice(train_batches(config, tokenizer), batches)
    images = [image for batch in stream for image in _describe(batch, tokenizer)]
    text = template(Path(__file__).with_name("show.html")).render(
        images=images,
        data=config.data,
        model=training_model(config.model),
        colours=COLOURS,
    )
    for facts in itertools.chain(images, *(image["rows"] for image in images)):
        facts["picture"] = None
    facts_name = page.with_suffix(".json").name
    contents = {facts_name: json.dumps(images, indent=1), page.name: text}
    write_together(page.parent, contents)
    return page


def _describe(batch: Batch, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    for i, (image, extent) in enumerate(zip(batch.images, batch.extent, strict=True)):
        rows = [
            _row(batch, tokenizer, i, j)
            for j in range(batch.valid.shape[1])
            if batch.valid[i, j]
        ]
        yield {
            "extent": extent.tolist(),
            "empty": int((~batch.valid[i]).sum()),
            "picture": _data_uri(image),
            "rows": rows,
        }


def _row(batch: Batch, tokenizer: Tokenizer, i: int, j: int) -> dict[str, Any]:
    mask, level = batch.masks[i, j], int(batch.level[i, j])
    height, width = batch.extent[i]
    area = mask.sum() / 255 * (batch.images.shape[1] / mask.shape[0]) ** 2
    return {
        "sentence": tokenizer.decode(batch.tokens[i, j, : batch.lengths[i, j]]),
        "tokens": int(batch.lengths[i, j]),
        "level": LEVELS[level],
        "no_target": bool(batch.no_target[i, j]),
        "share": round(float(area / (height * width)), 5),  # of the valid area
        "picture": _data_uri(overlay(batch.images[i], mask, COLOURS[level])),
    }


def overlay(
    image: UInt8[np.ndarray, "H W 3"],
    mask: UInt8[np.ndarray, "g g"],
    colour: tuple[int, int, int],
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture, darker outside the mask and tinted inside, cell by cell."""
    side = (image.shape[1], image.shape[0])
    share = cv2.resize(mask, side, interpolation=cv2.INTER_NEAREST)[..., None] / 255
    inside = 0.5 * image + 0.5 * np.array(colour)
    return (share * inside + (1 - share) * 0.55 * image).astype(np.uint8)


def _data_uri(image: UInt8[np.ndarray, "H W 3"]) -> str:
    scale = min(1.0, SIDE / image.shape[0])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"
