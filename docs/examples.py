"""Write the pictures that come with `unires demo`, and their sentences.

    python docs/examples.py             # writes unires_jax/serving/page/examples
    python docs/examples.py --list 40   # sentences of the first scenes, to choose from

The scenes are of PartWorld's val, seed 0; they and their sentences were chosen by hand
for variety.
"""

import argparse
import json
from pathlib import Path

from unires_jax import partworld
from unires_jax.data.records import OBJECT, PART

OUT = Path(__file__).parents[1] / "unires_jax" / "serving" / "page" / "examples"
# Indices into val, sentences about objects, sentences about parts. Of the third and the
# second, one sentence each means nothing that is there.
CHOSEN = {
    1: (
        ["yellow dog", "the white vehicle"],
        ["wheels on the purple truck", "green vehicle cab"],
    ),
    4: (
        ["elephant", "the man in black shirt"],
        ["white cat body", "hats of the man in the green shirt"],
    ),
    15: (
        ["horses", "red bus", "the green bus"],
        ["the saddles of the animals", "windows of the red bus", "chair seat"],
    ),
    36: (
        ["man", "the yellow bus", "green boat on the left"],
        ["flags of both boats", "the plane wings", "shirt of the man wearing blue"],
    ),
    31: (
        ["the blue elephant", "green bike", "far right purple bicycle"],
        ["the handlebar on the green bike", "seat on right"],
    ),
    38: (
        ["the dog", "yellow truck", "large truck"],
        ["trailers of all trucks", "right green truck wheels"],
    ),
}


def main() -> None:
    """Write the examples, or list what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", type=int, default=0, help="list so many scenes")
    args = parser.parse_args()
    for i in range(args.list):
        record = partworld.draw_record(0, "val", i)
        for level in (OBJECT, PART):
            print(i, level, [x.sent for x in record.expressions if x.level == level])
    if not args.list:
        write()


def write() -> None:
    """Draw the chosen scenes; fails if one does not say a chosen sentence."""
    OUT.mkdir(exist_ok=True)
    listed = []
    for i, chosen in CHOSEN.items():
        record = partworld.draw_record(0, "val", i)
        for level, sentences in zip((OBJECT, PART), chosen, strict=True):
            of_level = {x.sent for x in record.expressions if x.level == level}
            missing = set(sentences) - of_level
            assert not missing, f"{i}: {missing} of {of_level}"
        (OUT / record.filename).write_bytes(record.image)
        about = {"image": record.filename, "object": chosen[0], "part": chosen[1]}
        listed.append(about)
    (OUT / "examples.json").write_text(json.dumps(listed, indent=1) + "\n")
    print(f"{len(listed)} pictures in {OUT}")


if __name__ == "__main__":
    main()
