"""What stands behind the page: questions of many visitors, answered and kept apart.

Nothing here knows of browsers. A picture is looked at once for each visitor and kept
while sentences and threshold change; the threshold runs no model.
"""

import dataclasses
import hashlib
import io
import json
import threading
import zipfile
from typing import Any, NamedTuple

import numpy as np

from unires_jax.errors import DataError
from unires_jax.inference.segment import Segment
from unires_jax.pixels.resize import resize
from unires_jax.serving import overlay, photo
from unires_jax.serving.page.visits import Visit, Visits
from unires_jax.serving.predictor import EncodedImage, Predictor

# The longer side of a picture as shown, pixels: others are scaled, so that masks of
# small ones are smooth and large ones load fast (ours).
SHOWN = (800, 1600)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a page takes from its visitors, and keeps for them. All ours."""

    file_bytes: int = 32 << 20  # of a picture's file
    pixels: int = 50_000_000  # of a picture
    sentences: int = 32  # at once
    visits: int = 64  # sessions whose picture is kept
    kept_bytes: int = 1 << 30  # by all of them
    waiting: int = 64  # questions in the queue
    folder_bytes: int = 2 << 30  # of uploaded files
    file_age: float = 3600.0  # seconds after which an uploaded file is removed


class Row(NamedTuple):
    """One line of the table of answers."""

    expression: str
    colour: tuple[int, int, int]
    score: float
    area: int  # pixels, at the picture's own size
    share: float  # of the picture
    no_target: bool
    no_target_probability: float | None
    note: str  # "", or what a user should know


class Desk:
    """Answers sessions' questions with one Predictor. Threads may share it."""

    def __init__(self, model: Predictor, limits: Limits | None = None):
        self.model = model
        self.limits = limits or Limits()
        self.visits = Visits(self.limits.visits, self.limits.kept_bytes)
        self._drawing = threading.Semaphore(2)  # full-size masks in memory at once

    def ask(self, session: str, picture: bytes, text: Any) -> Visit:
        """Answer a text of one expression a line; what is kept of the session now.

        Raises DataError for what is no picture, too large a one, or no sentence.
        """
        sentences = self.sentences(text)
        digest = hashlib.sha256(picture).digest()
        visit = self.visits.of(session)
        if visit is None or visit.digest != digest:
            visit = Visit(digest, self._look(picture))
        answers = tuple(self.model.segment(visit.image, sentences))
        visit = Visit(digest, visit.image, answers)
        self.visits.put(session, visit)
        return visit

    def sentences(self, text: Any) -> list[str]:
        """The expressions of a text, one a line. Raises DataError."""
        if not isinstance(text, str):
            raise DataError(f"sentences: a {type(text).__name__}, expected text")
        sentences = [line.strip() for line in text.splitlines() if line.strip()]
        if not sentences:
            raise DataError("Type at least one sentence, one on each line.")
        if len(sentences) > self.limits.sentences:
            raise DataError(
                f"{len(sentences)} sentences; the page answers at most "
                f"{self.limits.sentences} at once."
            )
        return sentences

    def last_visit(self, session: str) -> Visit:
        """The last visit of a session. Raises DataError if nothing is kept."""
        visit = self.visits.of(session)
        if visit is None:
            raise DataError("No answers are kept here (any more): press Find.")
        return visit

    def leave(self, session: str) -> None:
        """Free what is kept of a session."""
        self.visits.drop(session)

    def rows(self, visit: Visit, threshold: float) -> list[Row]:
        """The table of a visit's answers. Raises DataError for a wrong threshold."""
        with self._drawing:
            return [
                _row(i, answer.at(threshold)) for i, answer in enumerate(visit.answers)
            ]

    def overlay_png(self, visit: Visit, threshold: float) -> bytes:
        """The picture under its masks, scaled so that its longer side is in SHOWN.

        Of expressions that mean nothing here no mask is drawn.
        """
        pixels = visit.image.pixels
        side = max(pixels.shape[:2])
        scale = min(max(side, SHOWN[0]), SHOWN[1]) / side
        height, width = (max(1, round(n * scale)) for n in pixels.shape[:2])
        with self._drawing:
            if scale != 1:
                pixels = np.empty((height, width, 3), np.uint8)
                resize(visit.image.pixels, pixels, height, width)
            scaled = [_scaled(a.at(threshold), height, width) for a in visit.answers]
            return photo.encode_png(overlay.draw(pixels, scaled))

    def masks_zip(self, visit: Visit, threshold: float) -> bytes:
        """The masks as PNGs of 0 and 255 at the picture's own size, and masks.json."""
        content = self.masks_json(visit, threshold)
        buffer = io.BytesIO()
        with self._drawing, zipfile.ZipFile(buffer, "w") as archive:
            for i, answer in enumerate(visit.answers):
                name = content["expressions"][i]["mask"] = f"mask.{i}.png"
                mask = answer.at(threshold).mask
                archive.writestr(name, photo.encode_png(mask))
            text = json.dumps(content, indent=1, ensure_ascii=False)
            archive.writestr("masks.json", text)
        return buffer.getvalue()

    def masks_json(self, visit: Visit, threshold: float) -> dict[str, Any]:
        """Scores, boxes, areas and COCO RLE, as `unires predict` writes them."""
        height, width = visit.image.pixels.shape[:2]
        with self._drawing:
            answers = [answer.at(threshold).to_json() for answer in visit.answers]
        about = {"height": height, "width": width, "note": visit.image.note}
        return about | {"expressions": answers}

    def _look(self, picture: bytes) -> EncodedImage:
        limits = self.limits
        if len(picture) > limits.file_bytes:
            raise DataError(
                f"The picture's file has {len(picture) / (1 << 20):.3g} MB; the "
                f"limit is {limits.file_bytes / (1 << 20):.3g} MB."
            )
        height, width = photo.size_of(picture)
        if height * width > limits.pixels:
            raise DataError(
                f"The picture has {width} x {height} pixels; the limit is "
                f"{limits.pixels / 1e6:g} million. Scale it down first."
            )
        return self.model.encode_image(picture)


def threshold_of(value: Any) -> float:
    """The threshold that a request names. Raises DataError unless it is in (0, 1)."""
    try:
        threshold = float(value)
    except (TypeError, ValueError):
        threshold = 0.0
    if not 0 < threshold < 1:
        raise DataError("threshold: expected a number between 0 and 1")
    return threshold


def _row(index: int, answer: Segment) -> Row:
    area = int(np.count_nonzero(answer.mask))
    return Row(
        expression=answer.expression,
        colour=overlay.colour(index),
        score=answer.score,
        area=area,
        share=area / answer.mask.size,
        no_target=answer.no_target,
        no_target_probability=answer.no_target_probability,
        note=answer.note,
    )


def _scaled(answer: Segment, height: int, width: int) -> Segment:
    """The answer for its picture scaled to another size; empty if nothing is meant."""
    placement = dataclasses.replace(
        answer.placement, crop_height=height, crop_width=width
    )
    logits = np.full_like(answer.logits, -1e4) if answer.no_target else answer.logits
    return dataclasses.replace(answer, placement=placement, logits=logits)
