"""Mutated inputs: every reader answers with records or DataError, and nothing runs.

    cd tests && python -m helpers.mutations parquet 5000 [seed]

converts that many mutated folders of a form in this process and prints the outcomes as
JSON; any other exception, a file written elsewhere, or a folder that takes longer than
LIMIT CPU seconds ends it with an error.
"""

import collections
import contextlib
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from helpers import raw_forms
from helpers.spoilt_forms import spoilt
from unires_jax.data import records
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.data.stored import to_example
from unires_jax.errors import DataError
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import recognise
from unires_jax.prepare.sources.form import Raw
from unires_jax.prepare.sources.grouping import by_split, to_records
from unires_jax.prepare.sources.pictures import Spool

LIMIT = 10  # CPU seconds for one input; they take milliseconds

# Values that have broken readers before, as JSON.
SPICE = (
    *("null", "true", "-1", "0", "1e308", "-1e400", "5e-324", "NaN", "99999999999999"),
    *("9223372036854775808", "[]", "{}", "[[]]", "[[1,1,1,1,1,1]]", "[-1]"),
    *('""', '"\\ud800"', '"../../../etc/passwd"', '"/etc/passwd"', '"x"', '"2"'),
    '{"size":[40,60],"counts":"~"}',
    '{"size":[1000000,1000000],"counts":[1000000000000]}',
)
GADGET = b"cos\nsystem\n(S'touch %s'\ntR."


def write_refs_json(root: Path) -> None:
    """The refer layout with JSON in place of the pickle."""
    spoilt(root, lambda refs, instances: None)


def write_pickle_0(root: Path) -> None:
    """The refer layout as Python 2's text pickle."""
    raw_forms.write_refer(root, protocol=0)


WRITERS: dict[str, Callable[[Path], None]] = {
    "refer": raw_forms.write_refer,
    "refer_0": write_pickle_0,
    "refer_json": write_refs_json,
    "cris": raw_forms.write_cris,
    "mdetr": raw_forms.write_mdetr,
    "tfds": raw_forms.write_tfds,
    "jxu124": raw_forms.write_jxu124,
    "lmms": raw_forms.write_lmms,
    "moondream": raw_forms.write_moondream,
    "grefs": raw_forms.write_grefs,
    "refcocom": raw_forms.write_refcocom,
}
PARQUET = ("jxu124", "lmms", "moondream")
NAMES = {"grefs": "grefcoco", "refcocom": "refcocom", "moondream": "refcoco_m"}


def read(form: str, root: Path, spool: Path) -> int:
    """Convert a folder, however many entries are bad; how many expressions came."""
    rejects, raw = Rejects(share=1.0), Raw(root, Spool(spool))
    benchmark = BENCHMARKS[NAMES.get(form, "refcoco_unc")]
    source = recognise.read(raw, benchmark, rejects)
    count = 0
    for split, referents in by_split(source.referents).items():
        for record in to_records(referents, source.picture, split, rejects):
            records.validate(record)
            to_example(record)
            count += len(record.expressions)
    return count


def mutate(data: bytes, rng: random.Random, text: bool, mark: Path) -> bytes:
    """The bytes with one to four faults."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        end = min(len(out), at + rng.choice((1, 1, 2, 8, 64)))
        kind = rng.randrange(8)
        if kind == 0:
            out[at:end] = b""
        elif kind == 1:
            out[at:at] = out[rng.randrange(len(out) + 1) :][: end - at]
        elif kind == 2:
            del out[at:]
        elif kind == 3 and not text:
            out[at:at] = GADGET % str(mark).encode()
        elif kind < 6 and text:
            _spice(out, rng)
        else:
            out[at:end] = rng.randbytes(end - at)
    return bytes(out)


def _spice(out: bytearray, rng: random.Random) -> None:
    """One JSON value after a colon or within a list replaced by a hostile one."""
    places = [i for i, c in enumerate(out) if c in b":["]
    if places:
        at = rng.choice(places) + 1
        ends = [p for c in b",]}" if (p := out.find(c, at)) >= 0]
        out[at : min(ends, default=len(out))] = rng.choice(SPICE).encode()


def run(form: str, count: int, seed: int = 0) -> dict[str, int]:
    """Convert `count` mutated folders; how many gave some, none, or DataError."""
    outcomes: collections.Counter[str] = collections.Counter()
    rng = random.Random(f"{form} {seed}")
    signal.signal(signal.SIGPROF, _too_long)
    with tempfile.TemporaryDirectory() as folder:
        root, mark = Path(folder) / "raw", Path(folder) / "ran"
        WRITERS[form](root)
        files = sorted(p for p in root.rglob("*") if p.is_file())
        weighty = [p for p in files if p.suffix != ".jpg"] * 6 + files
        whole = {p: p.read_bytes() for p in files}
        for _ in range(count):
            path, spool = rng.choice(weighty), Path(folder) / "spool"
            spool.mkdir()
            text = path.suffix == ".json"
            path.write_bytes(mutate(whole[path], rng, text, mark))
            outcomes[_outcome(form, root, spool)] += 1
            path.write_bytes(whole[path])
            shutil.rmtree(spool)
            present = {p for p in root.rglob("*") if p.is_file()}
            if mark.exists() or present != set(files):
                raise AssertionError(f"{form}: something ran or was written")
    return dict(outcomes)


def _outcome(form: str, root: Path, spool: Path) -> str:
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return "some" if read(form, root, spool) else "none"
    except DataError:
        return "DataError"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_long(signum: int, frame: object) -> None:
    raise AssertionError(f"an input took longer than {LIMIT} s")


def main() -> None:
    """Mutate the form of the command line and print the outcomes and the seconds."""
    form, count = sys.argv[1], int(sys.argv[2])
    begin = time.monotonic()
    outcomes = run(form, count, int((sys.argv[3:] or ["0"])[0]))
    seconds = round(time.monotonic() - begin, 1)
    print(json.dumps({"form": form, **outcomes, "seconds": seconds}))


if __name__ == "__main__":
    main()
