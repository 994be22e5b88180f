"""Write the pictures that come with `unires demo`, and their sentences.

    python docs/examples.py             # writes unires_jax/serving/page/examples
    python docs/examples.py --list 40   # sentences of the first scenes, to choose from

The scenes are of PartWorld's val, seed 0. They and their sentences were chosen by
hand, among those that the package's model answers well: they show what it can do, not
how often it does. Its card has its scores. The photographs, of COCO, lie there already
(NOTICE.md says whose they are); the package's model does not know such pictures.
"""

import argparse
import json
from pathlib import Path

from unires_jax import partworld
from unires_jax.data.records import OBJECT, PART

OUT = Path(__file__).parents[1] / "unires_jax" / "serving" / "page" / "examples"
# Indices into val, sentences about objects, sentences about parts. Of the second, third
# and last scene one sentence means nothing that is there.
CHOSEN = {
    17: (
        ["both blue trees", "the car at bottom"],
        ["car wheels on right", "trunks of the two trees"],
    ),
    24: (
        ["both women", "left lady"],
        [
            "dress of the person wearing yellow",
            "dress on right",
            "bodies of the lady in the purple dress",
        ],
    ),
    46: (
        ["two people on right", "the bottom right person"],
        ["the trunk of the purple tree", "the bumper of the purple tree"],
    ),
    30: (
        ["the green cars", "the bottom left car"],
        ["the windows of the two cars", "door at the top"],
    ),
    26: (
        ["boat on left"],
        ["black boat hull on the left", "the hull of the right orange boat"],
    ),
    39: (
        ["red dog on the right", "the white horse behind dog"],
        ["ear of the right animal", "the green horse heads"],
    ),
}
# COCO's number, address and sentences.
PHOTOGRAPHS = {
    471: (
        "http://farm1.staticflickr.com/48/124140140_1fcfaec779_z.jpg",
        ["the yellow bus"],
        ["wheels of the bus", "windows of the bus"],
    ),
    629: (
        "http://farm6.staticflickr.com/5124/5258978143_0fe9864f14_z.jpg",
        ["the motorcycle", "the blue door"],
        ["wheels of the motorcycle", "seat of the motorcycle"],
    ),
}
LICENCE = {
    "licence": "CC BY 2.0",
    "licence_source": "https://creativecommons.org/licenses/by/2.0/",
    "changes": "scaled down",
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
    for old in OUT.glob("val_*.jpg"):
        old.unlink()
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
    for number, (source, objects, parts) in PHOTOGRAPHS.items():
        name = f"coco_{number:012d}.jpg"
        assert (OUT / name).is_file(), f"{OUT / name} is missing: restore it"
        credit = {"source": source, **LICENCE}
        listed.append(dict(image=name, object=objects, part=parts, credit=credit))
    (OUT / "examples.json").write_text(json.dumps(listed, indent=1) + "\n")
    print(f"{len(listed)} pictures in {OUT}")


if __name__ == "__main__":
    main()
