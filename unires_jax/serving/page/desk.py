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
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from unires_jax.errors import DataError
from unires_jax.inference.segment import Segment
from unires_jax.pixels import rgb
from unires_jax.pixels.resize import resize
from unires_jax.serving import overlay, photo
from unires_jax.serving.page.visits import Visit, Visits
from unires_jax.serving.predictor import MAX_CHARACTERS, EncodedImage, Predictor

# The longer side of a picture as shown, pixels: others are scaled, so that masks of
# small ones are smooth and large ones load fast (ours).
SHOWN = (800, 1600)
READABLE = f"The page reads {', '.join(rgb.FORMATS[:-1])} and {rgb.FORMATS[-1]}."
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


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

    number: int  # from 0
    depth: int  # in the pile of masks: smaller ones lie higher, from 1
    expression: str
    colour: tuple[int, int, int]
    score: float
    area: int  # pixels, at the picture's own size
    share: float  # of the picture
    no_target: bool
    no_target_probability: float | None
    note: str  # "", or what a user should know

    @property
    def certainty(self) -> float:
        """Probability of what `no_target` says; 1 where its head is not trained."""
        nothing = self.no_target_probability or 0.0
        return nothing if self.no_target else 1 - nothing


class Desk:
    """Answers sessions' questions with one Predictor. Threads may share it."""

    def __init__(self, model: Predictor, limits: Limits | None = None):
        self.model = model
        self.limits = limits or Limits()
        self.visits = Visits(self.limits.visits, self.limits.kept_bytes)
        self._opening: Visit | None = None
        self._drawing = threading.Semaphore(2)  # full-size masks in memory at once

    def open_with(self, picture: bytes, text: str) -> Visit:
        """Answer what the page shows to everyone who opens it; kept for good.

        Raises DataError and CheckpointError as `ask`.
        """
        visit = Visit(digest_of(picture), self._look(picture))
        self._opening = self._answered(visit, self.sentences(text))
        return self._opening

    def look(self, session: str, picture: bytes) -> Visit:
        """Look at a session's new picture, which nothing was asked about yet.

        Raises DataError for what is no picture, or too large a one.
        """
        visit = Visit(digest_of(picture), self._seen(session, picture))
        self.visits.put(session, visit)
        return visit

    def ask(self, session: str, picture: bytes, text: Any) -> Visit:
        """Answer a text of one expression a line; what is kept of the session now.

        Raises DataError for what is no picture, too large a one, or no sentence.
        """
        sentences = self.sentences(text)
        visit = Visit(digest_of(picture), self._seen(session, picture))
        visit = self._answered(visit, sentences)
        self.visits.put(session, visit)
        return visit

    def sentences(self, text: Any) -> list[str]:
        """The expressions of a text, one a line. Raises DataError."""
        if not isinstance(text, str):
            raise DataError("The sentences must be text, one on each line.")
        sentences = [line.strip() for line in text.splitlines() if line.strip()]
        if not sentences:
            raise DataError("Type at least one sentence, one on each line.")
        if len(sentences) > self.limits.sentences:
            raise DataError(
                f"{len(sentences)} sentences; the page answers at most "
                f"{self.limits.sentences} at once."
            )
        for number, sentence in enumerate(sentences, 1):
            _check_sentence(sentence, f"Sentence {number}")
        return sentences

    def by_key(self, key: Any) -> Visit | None:
        """The visit with this key, while it is kept."""
        if self._opening and key == self._opening.key:
            return self._opening
        return self.visits.by_key(key) if isinstance(key, str) else None

    def leave(self, session: str) -> None:
        """Free what is kept of a session."""
        self.visits.drop(session)

    def rows(self, visit: Visit, threshold: float) -> list[Row]:
        """The table of a visit's answers. Raises DataError for a wrong threshold."""
        with self._drawing:
            answers = [answer.at(threshold) for answer in visit.answers]
            areas = [int(np.count_nonzero(answer.mask)) for answer in answers]
        pile = sorted(range(len(areas)), key=lambda i: -areas[i])
        return [
            _row(i, 1 + pile.index(i), answer, areas[i])
            for i, answer in enumerate(answers)
        ]

    def picture_jpeg(self, visit: Visit) -> bytes:
        """The picture alone, scaled so that its longer side is in SHOWN."""
        with self._drawing:
            return photo.encode_jpeg(_shown(visit.image.pixels))

    def mask_png(self, visit: Visit, threshold: float, number: int) -> bytes:
        """What is laid over the shown picture for one expression; else clear.

        Raises DataError if there is no answer of that number.
        """
        if not 0 <= number < len(visit.answers):
            raise DataError(f"There is no answer {number}.")
        size = _shown_size(visit.image.pixels)
        with self._drawing:
            answer = overlay.scaled(visit.answers[number].at(threshold), *size)
            mask = answer.mask & (not answer.no_target)
            return photo.encode_png(overlay.layer(mask, overlay.colour(number)))

    def overlay_png(
        self, visit: Visit, threshold: float, hidden: Collection[int] = ()
    ) -> bytes:
        """The picture under its masks, scaled so that its longer side is in SHOWN.

        No mask is drawn of `hidden` expressions, by their numbers, and of those that
        mean nothing here.
        """
        with self._drawing:
            pixels = _shown(visit.image.pixels)
            answers = [
                overlay.scaled(answer.at(threshold), *pixels.shape[:2])
                for answer in visit.answers
            ]
            return photo.encode_png(overlay.draw(pixels, answers, hidden))

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

    def _answered(self, visit: Visit, sentences: list[str]) -> Visit:
        answers = tuple(self.model.segment(visit.image, sentences))
        return Visit(visit.digest, visit.image, answers)

    def _seen(self, session: str, picture: bytes) -> EncodedImage:
        """The picture as the model sees it, which looks at new ones alone."""
        digest = digest_of(picture)
        for visit in (self.visits.of(session), self._opening):
            if visit and visit.digest == digest:
                return visit.image
        return self._look(picture)

    def _look(self, picture: bytes) -> EncodedImage:
        limits = self.limits
        if len(picture) > limits.file_bytes:
            raise DataError(
                f"The picture's file has {len(picture) / (1 << 20):.3g} MB; the "
                f"limit is {limits.file_bytes / (1 << 20):.3g} MB."
            )
        try:
            height, width = photo.size_of(picture)
        except DataError:
            raise DataError(_no_picture(picture)) from None
        if height * width > limits.pixels:
            raise DataError(
                f"The picture has {width} x {height} pixels; the limit is "
                f"{limits.pixels / 1e6:g} million. Scale it down first."
            )
        try:
            return self.model.encode_image(picture)
        except DataError:
            raise DataError(
                "The picture cannot be read: its file is damaged or cut off, or of an "
                "uncommon kind. Open it in another program and save it as JPEG or PNG."
            ) from None


def digest_of(picture: bytes) -> bytes:
    """What tells a picture's file from others."""
    return hashlib.sha256(picture).digest()


def _no_picture(data: bytes) -> str:
    """What to tell of bytes that are no picture."""
    if not data:
        return "The file is empty."
    if data[4:8] == b"ftyp" and data[8:12] in HEIF:
        return (
            "This is an HEIC picture, the way iPhones store photos. Save it as JPEG "
            f"first, or take a screenshot of it. {READABLE}"
        )
    return (
        f"This file is no picture that the page knows. {READABLE} Save the picture as "
        "one of these first."
    )


def _check_sentence(sentence: str, name: str) -> None:
    if len(sentence) > MAX_CHARACTERS:
        raise DataError(
            f"{name} has {len(sentence)} characters; the limit is {MAX_CHARACTERS}."
        )
    try:
        sentence.encode()
    except UnicodeEncodeError:
        raise DataError(f"{name} holds characters that are no text.") from None


def threshold_of(value: Any) -> float:
    """The threshold that a request names. Raises DataError unless it is in (0, 1)."""
    try:
        threshold = float(value)
    except (TypeError, ValueError, OverflowError):
        threshold = 0.0
    if not 0 < threshold < 1:
        raise DataError("The threshold must be a number between 0 and 1.")
    return threshold


def _row(number: int, depth: int, answer: Segment, area: int) -> Row:
    return Row(
        number=number,
        depth=depth,
        expression=answer.expression,
        colour=overlay.colour(number),
        score=answer.score,
        area=area,
        share=area / answer.mask.size,
        no_target=answer.no_target,
        no_target_probability=answer.no_target_probability,
        note=answer.note,
    )


def _shown_size(pixels: UInt8[np.ndarray, "H W 3"]) -> tuple[int, int]:
    """Height and width with the longer side in SHOWN."""
    side = max(pixels.shape[:2])
    scale = min(max(side, SHOWN[0]), SHOWN[1]) / side
    height, width = (max(1, round(n * scale)) for n in pixels.shape[:2])
    return height, width


def _shown(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The picture at the size in which it is shown."""
    height, width = _shown_size(pixels)
    if (height, width) == pixels.shape[:2]:
        return pixels
    scaled = np.empty((height, width, 3), np.uint8)
    resize(pixels, scaled, height, width)
    return scaled
