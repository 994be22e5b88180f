"""What lies around the model: picture to canvas, words to tokens, logits to masks.

Beside run.py in an exported model. Needs numpy, pillow, opencv and tokenizers.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps
from tokenizers import Tokenizer

FOLDER = Path(__file__).parent
RULES = json.loads((FOLDER / "preprocessor_config.json").read_text())
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
ABOUT = json.loads((FOLDER / "unires.json").read_text(encoding="utf-8"))
WORTH = FOLDER / "calibration.json"  # what the numbers mean, if that was measured
WORTH = json.loads(WORTH.read_text(encoding="utf-8")) if WORTH.is_file() else {}
EDGE = 1e-6  # probabilities are kept this far from 0 and 1


def read(path):
    """The picture, upright, on white, uint8 RGB [height, width, 3]."""
    image = ImageOps.exif_transpose(Image.open(path, formats=FORMATS))
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint16)
        grey = (deep >> 8).astype(np.uint8)  # the upper byte, as of 16-bit colours
        if (clear := image.info.get("transparency")) is not None:
            grey[deep == clear] = 255
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        sys.exit(f"{path}: has 32-bit pixels; expected 8 or 16 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def letterbox(pixels):
    """The picture scaled into the top left of a square canvas, and its extent there."""
    side, (h, w) = RULES["image_size"], pixels.shape[:2]
    scale = side / max(h, w)
    height, width = max(1, round(h * scale)), max(1, round(w * scale))
    canvas = np.full((side, side, 3), RULES["pad_colour"], np.uint8)
    canvas[:height, :width] = resize(pixels, height, width)
    return canvas, (height, width)


def resize(pixels, height, width):
    """Area averages to shrink a picture, cubic interpolation to enlarge it."""
    h, w = pixels.shape[:2]
    if height <= h <= 2 * height and width <= w <= 2 * width and min(h, w) >= 3:
        # As training did it; cv2.INTER_AREA may differ by one grey level.
        rows = average(pixels.astype(np.float32), height, 0)
        return (average(rows, width, 1) + np.float32(0.5)).astype(np.uint8)
    enlarges = height > h or width > w
    method = cv2.INTER_CUBIC if enlarges else cv2.INTER_AREA
    return cv2.resize(pixels, (width, height), interpolation=method)


def average(pixels, target, axis):
    """Each target pixel as an average of three, by the area it covers of them."""
    source = pixels.shape[axis]
    scale = source / target
    start = np.arange(target) * scale
    first = np.minimum((start + 1e-9).astype(int), source - 3)
    total = 0
    for i in range(3):
        end = np.minimum(first + i + 1, start + scale)
        share = np.maximum(end - np.maximum(first + i, start), 0) / scale
        share = share.astype(np.float32)[:, None]
        share = share[:, None] if axis == 0 else share
        total = total + share * pixels.take(first + i, axis)
    return total


def tokenize(sentences):
    """Token ids [e, l], filled up with the pad token, and their counts [e]."""
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    start = [] if RULES["sos"] is None else [RULES["sos"]]
    longest = RULES["context"] - len(start) - 1
    rows = []
    for text in sentences:
        text = text.strip().lower() if RULES["lower_case"] else text.strip()
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) > longest:
            about = f"{len(ids)} tokens, of which the first {longest} are read"
            print(f"{text[:60]!r}: {about}", file=sys.stderr)
        rows.append([*start, *ids[:longest], RULES["eos"]])
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.full((len(rows), lengths.max()), RULES["pad"], np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    return tokens, lengths


def to_mask(logits, extent, height, width):
    """Logits on the canvas' grid to a mask of height x width: bilinear, above zero."""
    grid, side = len(logits), RULES["image_size"]

    def taps(size, covered):
        last = -(-covered * grid // side) - 1
        centre = (np.arange(size) + 0.5) * covered / size * grid / side - 0.5
        centre = centre.clip(0, last)
        low = centre.astype(np.int64)
        return low, (low + 1).clip(max=last), (centre - low).astype(np.float32)

    above, below, down = taps(height, extent[0])
    left, right, across = taps(width, extent[1])
    rows = logits[:, left] + (logits[:, right] - logits[:, left]) * across
    full = rows[above] + (rows[below] - rows[above]) * down[:, None]
    return full > 0


def sigmoid(x):
    """The probability of logits, which does not overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def calibrated(name, probability):
    """What was found of a number: "right" of a mask's quality, "nothing" of its own."""
    if not WORTH.get(name):
        return probability
    p = min(max(float(probability), EDGE), 1 - EDGE)
    logit = np.log(p / (1 - p))
    return float(sigmoid(WORTH[name]["scale"] * logit + WORTH[name]["offset"]))


def score(logits, extent, nothing):
    """The mask's quality, the mean probability of its cells, times that it is meant.

    With a calibration.json it is the probability that the mask is right: that it has an
    IoU of at least one half with what is meant.
    """
    cells = of_picture(logits, extent)
    marked = cells[cells > 0]
    if not marked.size:
        return 0.0
    return calibrated("right", float(sigmoid(marked).mean())) * (1 - nothing)


def of_picture(cells, extent):
    """The cells of a square canvas that hold any of the picture."""
    grid, side = len(cells), RULES["image_size"]
    height, width = (-(-covered * grid // side) for covered in extent)
    return cells[:height, :width]


def distance(features, extent):
    """How far the picture is from those the model knows; above 1 it is unlike them."""
    named = dict(zip(ABOUT["features"], features, strict=True))
    patches = np.asarray(named["patches"])[0]
    side = round(len(patches) ** 0.5)
    patches = of_picture(patches.reshape(side, side, -1), extent)
    pooled = [patches.mean((0, 1))]
    if "detail" in named:
        detail = of_picture(np.asarray(named["detail"])[0], extent)
        pooled += [detail.mean((0, 1)), detail.std((0, 1))]
    known = WORTH["likeness"]
    y = (np.concatenate(pooled) - known["mean"]) / known["deviation"]
    along = np.array(known["axes"]) @ y
    beside = max(y @ y - along @ along, 0)
    squares = (along**2 / known["variances"]).sum() + beside / known["rest"]
    return float((squares / len(y)) ** 0.5 / known["limit"])


def main(encode_image, segment):
    """Answer the command line: a picture, then sentences; writes mask_<n>.png."""
    if len(sys.argv) < 3:
        sys.exit('usage: python run.py picture.jpg "a sentence" ...')
    pixels, sentences = read(sys.argv[1]), sys.argv[2:]
    canvas, extent = letterbox(pixels)
    features = encode_image(canvas[None], np.array([extent], np.int32))
    tokens, lengths = tokenize(sentences)
    index = np.zeros(len(sentences), np.int32)  # each asks about picture 0
    logits, no_target = segment(tokens, lengths, index, *features)
    if WORTH and distance(features, extent) > 1:
        known = "the picture looks unlike those that the model was trained on"
        print(f"warning: {known}: expect wrong masks", file=sys.stderr)
    for i, text in enumerate(sentences):
        mask = to_mask(np.asarray(logits[i]), extent, *pixels.shape[:2])
        Image.fromarray(mask.astype(np.uint8) * 255).save(f"mask_{i}.png")
        line = f"mask_{i}.png: {text!r}, {mask.mean():.1%} of the picture"
        nothing = 0.0
        if ABOUT["no_target_trained"]:
            nothing = calibrated("nothing", sigmoid(float(no_target[i])))
            line += f", {nothing:.0%} that nothing is meant"
        line += f", score {score(np.asarray(logits[i]), extent, nothing):.2f}"
        print(line)
