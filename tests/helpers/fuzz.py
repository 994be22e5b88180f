"""Mutated files for every reader, with memory and time capped: both ends are failures.

    cd tests && python -m helpers.fuzz predictions 5000 [seed]

writes a whole input, changes a file of it in one to four places (a value of its JSON, a
byte, a piece, a bomb), reads it, and again. The answer must be a value or a UserError.
Beyond MEMORY more than at the start, or SECONDS of CPU time for one input, the process
fails. Prints the outcomes, the seconds and the peak of memory as JSON.
"""

import base64
import collections
import contextlib
import copy
import importlib
import io
import json
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from helpers import mres_lines, mutations, part_forms, small_data, tool_exports
from helpers.places import places
from unires_jax.errors import UserError
from unires_jax.pixels import images
from unires_jax.pixels.masks import RunMask

MEMORY = 3 << 30  # bytes beyond those of the start
SECONDS = 10  # of CPU for one input; they take milliseconds
BOMB = 4 << 20  # bytes that a value becomes by being repeated
HUGE = 100_000  # bytes that a sign becomes

ODD: list[Any] = [
    *(None, True, -1, 0, 1, 3, 2**31, 2**63, 10**9, 10**400, 0.5, 1e308, float("nan")),
    *(
        "",
        " ",
        "\x00",
        "\ud800",
        "../../etc/passwd",
        "/dev/zero",
        "x",
        "2",
        "os.system",
    ),
    *("x" * 10_000, "~" * 50, "o" * 50, [], [[]], [[1, 2, 3]], [0] * 1000, {}),
    *({"size": [70_000, 70_000], "counts": "1"}, {"type": "os.path.X", "content": {}}),
    *([-1e9, 0, 1e9, 0, 0, 1e9], [1e300] * 6),
]


class Reader(NamedTuple):
    """A reader with the whole input that is mutated for it."""

    write: Callable[[Path], None]
    read: Callable[[Path], object]
    seal: Callable[[Path], object] = lambda folder: None  # after a change


def _lines(folder: Path) -> None:
    mres_lines.write_files(folder)
    lines = [mres_lines.good_line(), mres_lines.small_line(3)]
    (folder / "train.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))


def _read_lines(folder: Path) -> None:
    from unires_jax.data import records
    from unires_jax.prepare.mres import jsonl, plan

    for lines in plan.plan(jsonl.find_files(folder)):
        for _, record in lines.read():
            if not isinstance(record, UserError):
                records.validate(record)


def _mask_png() -> bytes:
    pixels = mres_lines.boxed(3, 4, 10, 12).astype(np.uint8) * 255
    return cv2.imencode(".png", pixels)[1].tobytes()


def _predictions(folder: Path) -> None:
    (folder / "mask.png").write_bytes(_mask_png())
    mask = RunMask.from_pixels(mres_lines.boxed(3, 4, 10, 12))
    runs = np.diff(mask.spans.ravel(), prepend=0, append=2400).tolist()
    coded = base64.b64encode(_mask_png()).decode()
    forms = [{"rle": mask.rle}, {"rle": {"size": [40, 60], "counts": runs}}]
    forms += [{"png": "mask.png"}, {"png": coded}]
    rows = [{"key": f"a/b/{i}/0/0", "score": 0.5} | x for i, x in enumerate(forms)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "predictions.jsonl").write_text(text)


def _read_predictions(folder: Path) -> object:
    from unires_jax.evaluation import predictions

    return predictions.read(folder)


def _audit(folder: Path) -> None:
    from helpers import engine_records
    from unires_jax.engine import audit
    from unires_jax.engine.cases import cases

    drawn = [
        case
        for record in engine_records.drawn(2)
        for case in cases(engine_records.picture_of(record))
        if audit.is_visible(case)
    ]
    table = audit.to_csv(drawn[:40], "r1").decode("utf-8-sig")
    (folder / audit.CSV).write_text(table.replace('"",""', '"right","tail hidden"'))


def _read_audit(folder: Path) -> object:
    from unires_jax.engine import audit

    return audit.read(folder / audit.CSV)


PICTURES = {
    "jpg": {"quality": 90},
    "progressive.jpg": {"quality": 90, "progressive": True},
    "png": {},
    "palette.png": {},
    "webp": {},
    "bmp": {},
    "tiff": {},
    "gif": {},
}


def _pictures(folder: Path) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    for name, options in PICTURES.items():
        kind = picture.quantize(16) if "palette" in name else picture
        kind.save(folder / f"a.{name}", **options)
    (folder / "mask.png").write_bytes(_mask_png())


def _read_pictures(folder: Path) -> None:
    from unires_jax.serving.photo import read_photo

    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        for read in (images.image_size, images.decode_image, read_photo):
            _none_or_told(lambda read=read, data=data: read(data))
        _none_or_told(
            lambda data=data: RunMask.from_pixels(images.decode_png_mask(data)).counts
        )


def _none_or_told(read: Callable[[], object]) -> None:
    with contextlib.suppress(UserError):
        read()


def _masks(folder: Path) -> None:
    mask = RunMask.from_pixels(mres_lines.boxed(3, 4, 10, 12))
    polygons = [[2, 2, 12, 2, 12, 14, 2, 14], [20, 30, 24, 30, 24, 38]]
    runs = {"size": [40, 60], "counts": [82, 6, 2312]}
    (folder / "masks.json").write_text(json.dumps([mask.rle, runs, polygons]))


def _read_masks(folder: Path) -> None:
    from unires_jax.prepare.sources.coco import read_segmentation
    from unires_jax.prepare.sources.fields import read_json

    pieces = read_json(folder / "masks.json")
    for piece in pieces if isinstance(pieces, list) else []:
        for height, width in ((40, 60), (8192, 8192)):
            with contextlib.suppress(UserError):
                read_segmentation(piece, height, width, "here")


def _prepared(folder: Path) -> None:
    small_data.write(folder, val=[small_data.scene(i, pairs=1) for i in range(3)])


def _read_prepared(folder: Path) -> None:
    from unires_jax.data import prepared, records

    for split in prepared.split_names(folder / "tiny/1.0.0"):
        data = prepared.PreparedSplit(str(folder / "tiny/1.0.0"), split)
        for i in range(min(len(data), 4)):
            with contextlib.suppress(UserError):
                records.validate(data[i])
                records.decode_record_image(data[i])


def _tokenizer(folder: Path) -> None:
    from unires_jax.data.tokenizer import train_bpe

    train_bpe(["a red square", "two dogs"] * 9, folder / "tokenizer.json", 560)


def _read_tokenizer(folder: Path) -> object:
    from unires_jax.config import BACKBONES
    from unires_jax.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder, BACKBONES["clip"].text)
    return tokenizer.encode(["a red square", "zwölf " * 40], 32, (16, 32))


def _clip(folder: Path) -> None:
    from safetensors.numpy import save_file

    tower = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    tower |= {"intermediate_size": 8, "hidden_act": "quick_gelu"}
    towers = {"vision_config": tower | {"patch_size": 4}, "text_config": tower}
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"} | towers))
    parts = {f"model-{i}.safetensors": {f"w{i}": np.ones((3, 2))} for i in (1, 2)}
    for name, tensors in parts.items():
        save_file(tensors, folder / name)
    index = {"weight_map": {n: f for f, x in parts.items() for n in x}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _read_clip(folder: Path) -> None:
    from unires_jax.models.backbones import files, published
    from unires_jax.models.backbones.clip import TOWERS

    published.read_config(TOWERS, str(folder))
    for _ in files.read_tensors(str(folder)):
        pass


def _tiny(folder: Path) -> Any:
    from helpers.tiny import make_loaded, tiny_config

    return make_loaded(folder, tiny_config())


def _checkpoint(folder: Path) -> None:
    from helpers.exporting import write_run

    with tempfile.TemporaryDirectory() as spare:
        write_run(folder, _tiny(Path(spare)))


def _read_checkpoint(folder: Path) -> object:
    from unires_jax.checkpoint import load_params, saved_config

    _, meta = load_params(folder)
    return saved_config(meta, folder)


def _export(kind: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from helpers.exporting import write_run
        from unires_jax.export.command import export

        with tempfile.TemporaryDirectory() as spare:
            run = write_run(Path(spare) / "run", _tiny(Path(spare)))
            shutil.rmtree(folder)
            export(run, kind, folder)

    return write


def _seal_export(folder: Path) -> None:
    from helpers.exporting import reseal

    with contextlib.suppress(Exception):  # its unires.json itself was changed
        reseal(folder)


def _read_export(folder: Path) -> object:
    from unires_jax.inference import exported

    return exported.read(folder)


def _boxes(folder: Path) -> None:
    """Boxes of COCO's JSON and of JSONL, on one picture."""
    (folder / "a.jpg").write_bytes(mres_lines.picture())
    given = {"image_id": 3, "category_id": 1, "bbox": [1, 2, 20, 20], "iscrowd": 0}
    image = {"id": 3, "file_name": "a.jpg", "height": 40, "width": 60}
    kinds = [{"id": 1, "name": "dog"}]
    content = {"images": [image], "annotations": [given, given], "categories": kinds}
    (folder / "boxes.json").write_text(json.dumps(content))
    box = {"box": [1, 2, 20, 20.5], "category": "dog"}
    line = {"image": "a.jpg", "boxes": [box, box], "coco_id": 4, "exhaustive": True}
    (folder / "boxes.jsonl").write_text(json.dumps(line) + "\n")


def _read_boxes(folder: Path) -> None:
    from unires_jax.engine.plan import plan
    from unires_jax.engine.settings import EngineConfig

    shard = EngineConfig().shard  # a shard a line would be a file a line
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        refusals = []
        for name in ("boxes.json", "boxes.jsonl"):
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    plan(Path(name), [folder / name], folder, shard=shard)
            except UserError as error:
                refusals.append(error)
    if refusals:
        raise refusals[0]


READERS = {
    "mres": Reader(_lines, _read_lines),
    "boxes": Reader(_boxes, _read_boxes),
    "predictions": Reader(_predictions, _read_predictions),
    "audit": Reader(_audit, _read_audit),
    "pictures": Reader(_pictures, _read_pictures),
    "masks": Reader(_masks, _read_masks),
    "prepared": Reader(_prepared, _read_prepared),
    "tokenizer": Reader(_tokenizer, _read_tokenizer),
    "clip": Reader(_clip, _read_clip),
    "checkpoint": Reader(_checkpoint, _read_checkpoint),
    "safetensors": Reader(_export("safetensors"), _read_export, _seal_export),
    "orbax": Reader(_export("orbax"), _read_export, _seal_export),
}


def _form(name: str) -> Reader:
    """A form of raw data: what `helpers.mutations` writes and reads."""

    def read(folder: Path) -> int:
        with tempfile.TemporaryDirectory() as spool:
            return mutations.read(name, folder, Path(spool))

    return Reader(mutations.WRITERS[name], read)


READERS |= {name: _form(name) for name in mutations.WRITERS}


def _annotations(command: str, form: str, write: Callable[[Path], Path]) -> Reader:
    """Annotations that `unires engine parts` or `import` reads."""
    source: list[Path] = []

    def write_source(folder: Path) -> None:
        source[:] = [write(folder).relative_to(folder)]

    def read(folder: Path) -> None:
        room = {"parts": "part_sources", "import": "importers"}[command]
        main = importlib.import_module(f"unires_jax.engine.{room}.command").main
        argv = ["--form", form, str(folder / source[0]), "--max_bad_share", "0.1"]
        if (folder / "photos").is_dir():
            argv += ["--pictures", str(folder / "photos")]
        with (
            tempfile.TemporaryDirectory() as out,
            contextlib.redirect_stderr(io.StringIO()),
        ):
            main([*argv, "--out", out])

    return Reader(write_source, read)


READERS |= {
    f"parts {name}": _annotations("parts", form, write)
    for name, (form, write) in part_forms.FORMS.items()
}
READERS |= {
    f"import {name}": _annotations("import", name.split()[0], write)
    for name, write in tool_exports.WRITERS.items()
}


def mutate(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """The content of a file with one to four faults in it."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        changed = _changed_json(data, suffix, rng) if rng.random() < 0.7 else None
        data = _changed_bytes(data, rng) if changed is None else changed
    return data


def _changed_json(data: bytes, suffix: str, rng: random.Random) -> bytes | None:
    """One value of it another, moved, dropped or very often; None if it is no JSON."""
    lines = data.splitlines() if suffix == ".jsonl" else [data]
    number = rng.randrange(len(lines) or 1)
    try:
        value = json.loads(lines[number])
    except (ValueError, IndexError, RecursionError):
        return None
    positions = places(value)
    if not positions:
        return None
    where, key = rng.choice(positions)
    donor, other = rng.choice(positions)
    match rng.randrange(7):
        case 0:
            del where[key]
        case 1:
            where[key] = copy.deepcopy(donor[other])
        case 2 if isinstance(where[key], (list, str)):
            where[key] = where[key] * (BOMB // len(json.dumps(where[key])))
        case 3 if type(where[key]) is int:
            where[key] += rng.choice((-1, 1, 60, -(2**31), 2**40))
        case 4 if isinstance(where, dict):
            where[rng.choice(("_", "type", "auto_map", "\ud800"))] = rng.choice(ODD)
        case _:
            where[key] = copy.deepcopy(rng.choice(ODD))
    lines[number] = json.dumps(value).encode()
    return b"\n".join(lines)


def _changed_bytes(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    at = rng.randrange(len(out) + 1)
    end = min(len(out), at + rng.choice((1, 1, 2, 8, 64)))
    match rng.randrange(7):
        case 0:
            del out[at:end]
        case 1:
            del out[at:]
        case 2:
            out[at:at] = out[rng.randrange(len(out) + 1) :][: rng.choice((1, 8, 999))]
        case 3:  # a number of another size
            number = rng.choice((0, 1, 255, 65_500, 2**31 - 1, 2**32 - 1, 2**63))
            form = rng.choice(("<I", ">I", "<H", ">H", "<Q", ">Q"))
            size = struct.calcsize(form)
            out[at : at + size] = struct.pack(form, number % 256**size)
        case 4:
            out[at:at] = out[at:end] * (HUGE // max(end - at, 1))
        case 5:
            signs = (b"[" * HUGE, b"{" * 9, b'"', b"}" * HUGE, b"\xff\xc0\xff\xda")
            out[at:at] = rng.choice(signs)
        case _:
            out[at:end] = rng.randbytes(end - at)
    return bytes(out)


def run(name: str, count: int, seed: int = 0) -> dict[str, int]:
    """Read `count` mutated inputs; how many gave a value, how many were refused."""
    reader, rng = READERS[name], random.Random(f"{name} {seed}")
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "input"
        folder.mkdir()
        reader.write(folder)
        whole = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        weighty = [p for p in whole if p.suffix in (".json", ".jsonl", ".p")] * 3
        reader.read(folder)  # whatever is imported or compiled is not counted
        _cap()
        for _ in range(count):
            path = rng.choice(weighty + list(whole))
            path.write_bytes(mutate(whole[path], path.suffix, rng))
            reader.seal(folder)
            outcomes[_outcome(reader, folder, path)] += 1
            for file, content in whole.items():
                if file == path or file.name == "unires.json":
                    file.write_bytes(content)
    return dict(outcomes)


def _cap() -> None:
    """Limit memory to MEMORY more than is mapped now, and time to SECONDS an input."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.signal(signal.SIGPROF, _too_long)


def _too_long(signum: int, frame: object) -> None:
    raise SystemExit(f"an input took longer than {SECONDS} s of CPU time")


def _outcome(reader: Reader, folder: Path, path: Path) -> str:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            reader.read(folder)
        return "read"
    except UserError as error:
        told = " do not fit into the free memory" in str(error)
        return _keep(path, "no memory") if told else "refused"
    except BaseException as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        traceback.print_exc()
        return _keep(path, type(error).__name__)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _keep(path: Path, outcome: str) -> str:
    """Print where a copy of the input that failed lies; the outcome."""
    kept = Path(tempfile.mkdtemp(prefix="unires-fuzz-")) / path.name
    shutil.copy(path, kept)
    print(f"FAULT {outcome}: {kept}", file=sys.stderr)
    return outcome


def faults(outcomes: dict[str, int]) -> dict[str, int]:
    """Those that must not be."""
    return {k: n for k, n in outcomes.items() if k not in ("read", "refused")}


def main() -> int:
    """The reader of the command line: outcomes, seconds, and the peak in MB."""
    name, count, *seed = sys.argv[1:]
    begin = time.monotonic()
    outcomes = run(name, int(count), int((seed or ["0"])[0]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    figures = {"seconds": round(time.monotonic() - begin, 1), "peak_mb": peak}
    print(json.dumps({"reader": name, **outcomes, **figures}))
    return int(bool(faults(outcomes)))


if __name__ == "__main__":
    sys.exit(main())
