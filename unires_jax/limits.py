"""How much of anything that others wrote is read. Standard library only.

Beyond a limit a file is refused with words: an input can cost memory and time far
beyond its own size. All limits are ours; docs/data.md has them as a table.
"""

PATH = 4096  # characters of a file's name, folders included; Linux has this limit

# Pictures and masks. A decoder makes room before it finds damage.
PICTURE_BYTES = 64 << 20  # of one encoded picture or mask file
SIDE = 1 << 15  # pixels; no COCO image is longer than 640
PIXELS = 1 << 26  # 8192 x 8192
SCANS = 500  # of a progressive JPEG, which costs as often its pixels; usual are 10

# Outlines. pycocotools takes some 100 bytes for each pixel along one, unchecked.
POINTS = 1 << 16  # of one polygon; the longest of COCO has some 2,000
OUTLINE = 1 << 20  # pixels along all polygons of one mask
RUNS = 1 << 22  # of one mask; the most ragged of 640 x 480 has 153,600
# Runs that are gone through where each part of a picture is compared with each object
# that it may belong to; some 10 seconds.
COMPARED = 1 << 31

# Of all masks and sentences that are read from raw files before pictures are. RefCOCO's
# take 100 MB; a polygon of 1 kB may take 2 MB.
REFERENTS_MEMORY = 1 << 30

# One picture's record.
MASKS = 10_000  # COCO has 93 at most
EXPRESSIONS = 100_000
SENTENCE = 1 << 14  # characters; a model reads some 100

# Values as Python holds them: `documents` estimates them before they are made.
JSON_BYTES = 1 << 30  # COCO's instances_train2017.json has 470 MB
JSON_MEMORY = 4 << 30  # of its values; COCO's take some 3 GB
JSON_DEPTH = 100  # lists and objects within each other; COCO's have 5
SMALL_JSON_BYTES = 64 << 20  # a config.json, dataset_info.json, index, manifest
PICKLE_BYTES = 1 << 28  # the largest circulating refs file has 40 MB
PICKLE_MEMORY = 1 << 30
DEPTH = 32  # containers within containers of a pickle; the refer files have 4
INTEGER = 1 << 63  # of a key: dicts of chosen larger ones take quadratic time

# Lines of JSON.
LINE_BYTES = 32 << 20
LINE_MEMORY = 1 << 29  # of its values
SKIPPED_BYTES = 1 << 30  # of a line that is passed over; beyond, it is no text
GZIP_RATIO = 256  # plain to packed bytes of a file; text has 5 to 20

# Predictions of a model, a line for each expression.
PREDICTIONS_BYTES = 1 << 29  # of the file
PREDICTIONS_MEMORY = 1 << 32  # of all its masks

# Parquet.
ROWS_BYTES = 1 << 30  # of the rows that are in memory at once
COLUMN_BYTES = 1 << 32  # of one column of a row group, unpacked

# Models.
TOKENIZER_BYTES = 1 << 27  # Gemma's has 33 MB
GROWTH = 64  # by which a tokenizer's normalizer may lengthen a text
STEM_BYTES = 1 << 28  # of a stem's weights; EfficientNet-Lite2's have 25 MB
BLOCKS = 1000  # of all parts together; else a forged config takes for ever


def plausible(height: int, width: int) -> bool:
    """Whether an image may have this size, in pixels."""
    return 0 < height <= SIDE and 0 < width <= SIDE and height * width <= PIXELS
