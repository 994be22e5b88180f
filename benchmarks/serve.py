"""The server under load: clients with pictures of their own, asking again and again.

    python benchmarks/serve.py                              # 50 clients, 2 minutes
    python benchmarks/serve.py --clients 8 --seconds 10 --checkpoint runs/quickstart

Starts `unires serve` twice on free ports of this machine, with batches and without
(`--batch 1`), and lets the clients at one after the other, in turns, so that both meet
the same machine. Each client has a drawn scene (PartWorld's val) in a size that no
other has. It asks its sentences in changing groups, in turns with the picture (a form,
base64) and by its key, and compares each answer's masks with those the Predictor gives
in this process: one pixel in a hundred may differ, or a few of a small mask. Prints
errors, answers that differ, latencies, the servers' resident memory, and the throughput
of both with their ratio; fails if any answer is wrong or missing, or if the memory
grows by more than a half after the first quarter.
"""

import argparse
import asyncio
import base64
import io
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from PIL import Image

from unires_jax import partworld
from unires_jax.inference.segment import Segment
from unires_jax.pixels.masks import RunMask
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import Predictor, load

# Pixels in which masks differ that count as the same: batches sum in another order.
SHARE, FEW = 0.01, 4  # of their union, at most; of small masks
GROUP = 3  # sentences of a question, at most
TURNS = 4  # of each server
GROWTH = 1.5  # of memory after the first quarter, at most
WAYS = ("form", "base64", "key")


class Client(NamedTuple):
    """A picture, its sentences, and the Predictor's answers to them."""

    number: int
    picture: bytes
    groups: list[list[str]]
    expected: list[list[Segment]]  # of each group


class Tally:
    """What the clients met at one server."""

    def __init__(self) -> None:
        self.latencies: list[float] = []  # seconds
        self.seconds = 0.0  # of all turns
        self.exact = 0
        self.errors: list[str] = []
        self.wrong: list[str] = []

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0


class Server:
    """A running `unires serve`."""

    def __init__(self, checkpoint: str, *options: str):
        command = [sys.executable, "-m", "unires_jax.cli", "serve", "--port", "0"]
        command += ["--checkpoint", checkpoint, *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            self.address = self._line(r"http://[\d.:]+")
            self._line("^ready$")
        except BaseException:
            self.end()
            raise
        self.tally, self.memory = Tally(), [self.resident()]

    def _line(self, pattern: str) -> str:
        assert self._process.stdout
        for line in self._process.stdout:
            if match := re.search(pattern, line):
                return match[0]
        raise RuntimeError("the server did not start")

    def resident(self) -> float:
        """MB of memory it holds."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(line[1]) / 1024 if line else 0.0

    def batch(self) -> float:
        """Requests of a batch, the mean over all so far."""
        text = httpx.get(f"{self.address}/metrics", timeout=60).text
        lines = re.findall(r"^unires_batch_requests_(sum|count) (\S+)", text, re.M)
        numbers = {name: float(value) for name, value in lines}
        return numbers.get("sum", 0.0) / max(numbers.get("count", 0.0), 1.0)

    def end(self) -> int:
        """End it; its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(90)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def make_client(model: Predictor, number: int) -> Client:
    """A client's picture, questions and right answers."""
    record = partworld.draw_record(0, "val", number)
    scene = Image.open(io.BytesIO(record.image)).convert("RGB")
    size = (scene.width * 2 + number, scene.height * 2 + number)  # none like another
    picture = encode_png(np.array(scene.resize(size)))
    sentences = list(dict.fromkeys(x.sent for x in record.expressions))
    starts = range(0, len(sentences), GROUP)
    groups = [sentences[i : i + GROUP] for i in starts][:3]
    image = model.encode_image(picture)
    expected = [model.segment(image, group) for group in groups]
    _ = [segment.rle for some in expected for segment in some]  # now, not under load
    return Client(number, picture, groups, expected)


async def visit(
    http: httpx.AsyncClient, client: Client, end: float, tally: Tally
) -> None:
    """Ask until the end of the turn."""
    turn, key = client.number, ""
    while time.monotonic() < end:
        which, way = turn // 3 % len(client.groups), WAYS[turn % 3]
        turn += 1
        start = time.monotonic()
        try:
            if not key:
                files = {"image": client.picture}
                reply = await http.post("/v1/encode", files=files)
                key = reply.raise_for_status().json()["key"]
            start = time.monotonic()
            asked = question(client, client.groups[which], way, key)
            reply = await http.post("/v1/segment", **asked)
            answer = reply.raise_for_status().json()
        except httpx.HTTPError as error:
            tally.errors.append(f"client {client.number}: {error!r}")
            await asyncio.sleep(0.1)
            continue
        tally.latencies.append(time.monotonic() - start)
        wrong, exact = difference(answer, client.expected[which])
        tally.exact += exact
        if wrong:
            tally.wrong.append(f"client {client.number}, {way}: {wrong}")


def question(
    client: Client, sentences: list[str], way: str, key: str
) -> dict[str, Any]:
    """A request, one of three ways."""
    if way == "form":
        return {"files": {"image": client.picture}, "data": {"sentences": sentences}}
    if way == "base64":
        text = base64.b64encode(client.picture).decode()
        return {"json": {"image": text, "sentences": sentences}}
    return {"json": {"key": key, "sentences": sentences}}


def difference(answer: dict[str, Any], expected: list[Segment]) -> tuple[str, bool]:
    """What is wrong with an answer ("": nothing); whether it is equal bit by bit."""
    rows = answer["answers"]
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
        differing, union = (mask ^ segment.mask).sum(), (mask | segment.mask).sum()
        if differing > max(SHARE * union, FEW):
            return f"another mask for {segment.expression!r}", False
    return "", exact


async def turn(server: Server, clients: list[Client], seconds: float) -> None:
    """Let all clients at a server for so long."""
    start = time.monotonic()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=server.address, timeout=300, limits=limits
    ) as http:
        end = start + seconds
        await asyncio.gather(*(visit(http, x, end, server.tally) for x in clients))
    server.tally.seconds += time.monotonic() - start
    server.memory.append(server.resident())


def report(name: str, server: Server) -> bool:
    """Print what was met at a server; whether all was right."""
    tally, memory = server.tally, server.memory
    print(
        f"{name}: {len(tally.latencies)} answers, {len(tally.errors)} errors, "
        f"{len(tally.wrong)} wrong, {tally.exact} equal to the Predictor's bit by bit"
    )
    for message in (*tally.errors[:5], *tally.wrong[:5]):
        print(f"  {message}")
    if len(tally.latencies) > 1:
        cut = statistics.quantiles(tally.latencies, n=20, method="inclusive")
        print(f"  latency: median {cut[9]:.3f} s, 95th percentile {cut[18]:.3f} s")
    print(f"  {tally.rate:.1f} answers a second, {server.batch():.1f} requests a batch")
    print("  memory, MB: " + ", ".join(f"{x:.0f}" for x in memory))
    grown = memory[-1] > GROWTH * memory[1]
    return bool(tally.latencies) and not (tally.errors or tally.wrong or grown)


def main() -> int:
    """Start both servers, let the clients at them, end them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", default="", help="as of unires serve")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument(
        "--seconds", type=float, default=120, help="of each server, in all"
    )
    args = parser.parse_args()
    model = load(args.checkpoint)
    clients = [make_client(model, i) for i in range(args.clients)]
    queue = ("--queue", str(2 * args.clients))
    kinds = {"with batches": queue, "without": (*queue, "--batch", "1")}
    servers: dict[str, Server] = {}
    try:
        for name, options in kinds.items():
            servers[name] = Server(args.checkpoint, *options)
        for _ in range(TURNS):
            for server in servers.values():
                asyncio.run(turn(server, clients, args.seconds / TURNS))
        right = [report(name, server) for name, server in servers.items()]
    finally:
        codes = [server.end() for server in servers.values()]
    batched, single = (server.tally.rate for server in servers.values())
    ratio = f"{batched / single:.2f}" if single else "unknown"
    print(f"{args.clients} clients: throughput with batches / without: {ratio}")
    print(f"the servers ended with {codes}")
    return 0 if all(right) and not any(codes) else 1


if __name__ == "__main__":
    sys.exit(main())
