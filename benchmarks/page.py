"""The page under load: users with pictures of their own, asking again and again.

    python benchmarks/page.py                                # 20 users, 2 minutes
    python benchmarks/page.py --users 3 --seconds 10 --checkpoint runs/quickstart

Starts `unires demo` on a free port of this machine. Each user is a session of its own:
it uploads a drawn scene (PartWorld's val, each in another size), asks its
sentences in changing groups, moves the threshold after every third answer, and compares
each answer's masks with those the Predictor gives in this process. Prints errors,
answers that differ, latencies (from the question to the downloaded masks) and the
server's resident memory.
"""

import argparse
import io
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from PIL import Image

from unires_jax import partworld
from unires_jax.pixels.masks import RunMask
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import Predictor, load

SAME = 0.99  # IoU of masks that count as the same; threads may sum in another order
GROUP = 4  # sentences of a question, at most


class User(NamedTuple):
    """A picture, its sentences, and the Predictor's answers to them."""

    picture: bytes
    groups: list[list[str]]
    expected: list[list[Any]]  # Segments of each group


class Tally:
    """What all users met. Threads share it."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {"find": [], "threshold": []}
        self.errors: list[str] = []
        self.wrong: list[str] = []
        self.exact = 0
        self._lock = threading.Lock()

    def add(self, kind: str, seconds: float, wrong: str, exact: bool) -> None:
        """Count an answer."""
        with self._lock:
            self.seconds[kind].append(seconds)
            self.exact += exact
            self.wrong += [wrong] if wrong else []

    def error(self, message: str) -> None:
        """Count a question without an answer."""
        with self._lock:
            self.errors.append(message)


class Session:
    """One user's connection to the page, as its browser would use it."""

    def __init__(self, address: str, number: int):
        self.http = httpx.Client(base_url=address, timeout=120)
        self.name = f"user{number}x{random.getrandbits(40):x}"
        dependencies = self.http.get("/config").json()["dependencies"]
        self.ids = {x["api_name"]: x["id"] for x in dependencies}
        self.key = ""  # of the last answers

    def upload(self, picture: bytes) -> dict[str, Any]:
        """Upload a picture; how questions name it."""
        files = {"files": ("picture.png", picture)}
        path = self.http.post("/gradio_api/upload", files=files).raise_for_status()
        return {"path": path.json()[0], "meta": {"_type": "gradio.FileData"}}

    def call(self, name: str, values: list[Any]) -> dict[str, Any]:
        """What masks.json holds after a question. Raises RuntimeError on an error."""
        question = {
            "data": values,
            "fn_index": self.ids[name],
            "session_hash": self.name,
        }
        joined = self.http.post("/gradio_api/queue/join", json=question)
        if joined.status_code != 200:
            raise RuntimeError(f"{joined.status_code} {joined.text[:200]}")
        answer = self._completed()
        self.key = re.findall(r'data-key="([^"]*)"', answer)[0]
        link = re.search(r'href="(masks\.json[^"]*)"', answer)
        assert link, answer
        address = "/" + link[1].replace("&amp;", "&")
        return dict(self.http.get(address).raise_for_status().json())

    def _completed(self) -> str:
        path = f"/gradio_api/queue/data?session_hash={self.name}"
        with self.http.stream("GET", path) as lines:
            for line in lines.iter_lines():
                event = json.loads(line[5:]) if line.startswith("data:") else {}
                if event.get("msg") == "process_completed":
                    if not event["success"]:
                        raise RuntimeError(str(event["output"])[:200])
                    return str(event["output"]["data"][0])
        raise RuntimeError("the queue ended without an answer")


def make_user(model: Predictor, number: int) -> User:
    """A user's picture, questions and right answers."""
    record = partworld.draw_record(0, "val", number)
    scene = Image.open(io.BytesIO(record.image)).convert("RGB")
    size = (scene.width * 2 + number, scene.height * 2 + number)  # none like another
    picture = encode_png(np.array(scene.resize(size)))
    sentences = list(dict.fromkeys(x.sent for x in record.expressions))
    starts = range(0, len(sentences), GROUP)
    groups = [sentences[i : i + GROUP] for i in starts][:3]
    image = model.encode_image(picture)
    return User(picture, groups, [model.segment(image, group) for group in groups])


def visit(address: str, number: int, user: User, end: float, tally: Tally) -> None:
    """Ask until the end of the time."""
    try:
        session = Session(address, number)
        file = session.upload(user.picture)
    except (httpx.HTTPError, RuntimeError) as error:
        tally.error(f"upload: {error!r}")
        return
    turn = 0
    while time.monotonic() < end:
        which = turn // 3 % len(user.groups)
        again = turn % 3 == 2
        at = round(random.uniform(0.2, 0.8), 2) if again else 0.5
        values = (
            [at, session.key] if again else [file, "\n".join(user.groups[which]), at]
        )
        start, turn = time.monotonic(), turn + 1
        kind = "threshold" if again else "find"
        try:
            answer = session.call(kind, values)
        except (httpx.HTTPError, RuntimeError) as error:
            tally.error(f"{kind}: {error!r}")
            continue
        seconds = time.monotonic() - start
        expected = [segment.at(at) for segment in user.expected[which]]
        wrong, exact = difference(answer, expected)
        tally.add(kind, seconds, wrong and f"user {number}: {wrong}", exact)


def difference(answer: dict[str, Any], expected: list[Any]) -> tuple[str, bool]:
    """What is wrong with an answer ("": nothing); whether it is equal bit by bit."""
    rows = answer["expressions"]
    if [x["expression"] for x in rows] != [x.expression for x in expected]:
        return "the answer is to other sentences", False
    exact = True
    for x, segment in zip(rows, expected, strict=True):
        if x["rle"] == segment.rle:
            continue
        exact = False
        if x["rle"]["size"] != segment.rle["size"]:
            return "the answer is about another picture", False
        mask = RunMask.from_counts(x["rle"]["counts"], *x["rle"]["size"]).pixels()
        if (mask & segment.mask).sum() < SAME * (mask | segment.mask).sum():
            return f"another mask for {segment.expression!r}", False
    return "", exact


def resident(pid: int) -> float:
    """MB of memory a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(line[1]) / 1024 if line else 0.0


def run(address: str, pid: int, users: list[User], seconds: float) -> Tally:
    """Let all users ask for so long; prints the server's memory on the way."""
    tally = Tally()
    print(f"memory at start: {resident(pid):.0f} MB", flush=True)
    start = time.monotonic()
    threads = [
        threading.Thread(target=visit, args=(address, i, x, start + seconds, tally))
        for i, x in enumerate(users)
    ]
    for thread in threads:
        thread.start()
    for share in (0.25, 0.5, 0.75):
        time.sleep(max(0.0, start + share * seconds - time.monotonic()))
        print(f"memory after {share * seconds:.0f} s: {resident(pid):.0f} MB")
    for thread in threads:
        thread.join()
    print(f"memory at the end: {resident(pid):.0f} MB", flush=True)
    return tally


def report(tally: Tally, users: int) -> bool:
    """Print what was met; whether all was right."""
    total = sum(map(len, tally.seconds.values()))
    print(
        f"{users} users, {total} answers: {len(tally.errors)} errors, "
        f"{len(tally.wrong)} wrong, {tally.exact} equal to the Predictor's bit by bit"
    )
    for message in (*tally.errors[:5], *tally.wrong[:5]):
        print(f"  {message}")
    for kind, seconds in tally.seconds.items():
        if len(seconds) > 1:
            cut = statistics.quantiles(seconds, n=20, method="inclusive")
            print(f"{kind}: median {cut[9]:.3f} s, 95th percentile {cut[18]:.3f} s")
    return bool(total) and not tally.errors and not tally.wrong


def main() -> int:
    """Start the page, let users at it, end it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", default="", help="as of unires demo")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    args = parser.parse_args()
    model = load(args.checkpoint)
    users = [make_user(model, i) for i in range(args.users)]
    command = [sys.executable, "-m", "unires_jax.cli", "demo", "--port", "0"]
    command += ["--checkpoint", args.checkpoint]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        address = ""
        for line in server.stdout:
            if url := re.search(r"http://[\d.:]+", line):
                address = url[0]
                break
        assert address, "the server did not start"
        tally = run(address, server.pid, users, args.seconds)
    finally:
        server.terminate()
        print(f"the server ended with {server.wait(60)}")
    return 0 if report(tally, len(users)) else 1


if __name__ == "__main__":
    sys.exit(main())
