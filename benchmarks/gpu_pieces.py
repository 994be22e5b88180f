"""The pieces that `gpu.py` measures: python benchmarks/gpu_pieces.py PIECE ARGUMENT DIR

Each prints JSON objects, a line each as soon as it is known. Durations are medians;
rates of the model go against the rate of a bfloat16 matmul in the same process. Model
FLOPs are `training/flops.py`'s: no recomputation, backward twice forward.
"""

import argparse
import dataclasses
import json
import re
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unires_jax import mesh as mesh_lib
from unires_jax import process
from unires_jax.config import (
    Config,
    ModelConfig,
    TextConfig,
    VisionConfig,
    mask_grid,
    preprocessing,
)
from unires_jax.data.batch import Batch
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.inference.answer import Answerer, FixedShapes
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.places import BUNDLED
from unires_jax.inference.steps import Compiled
from unires_jax.models.forms import FAST, PLAIN, Forms, for_platform, use
from unires_jax.models.unires import Apply
from unires_jax.serving.predictor import Predictor
from unires_jax.training.flops import train_step_flops
from unires_jax.training.recipe import make_recipe
from unires_jax.training.train_step import accumulate

ROOT = Path(__file__).resolve().parents[1]
EXPRESSIONS, LENGTH = 4, 32  # of a training picture; tokens of a sentence
DRY = False  # set by --dry_run


def main() -> None:
    """Run one piece."""
    global DRY
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("piece", choices=list(PIECES))
    parser.add_argument("argument")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dry_run", action="store_true")
    args = parser.parse_args()
    DRY = args.dry_run
    process.start()
    PIECES[args.piece](args.argument, args.folder)
    if args.piece != "quickstart":  # whose programs are processes of their own
        tell(peak_memory_gb=peak_memory())


def tell(**figures: Any) -> None:
    """Print figures as a line of JSON."""
    print(json.dumps(figures), flush=True)


def seconds(call: Callable[[], Any], repeats: int = 10) -> float:
    """The median duration of a call, after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(2 if DRY else repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_memory() -> float | None:
    """Most bytes of the device in use so far, in GB; CPUs do not count them."""
    stats = jax.devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return None if peak is None else peak / 1e9


def matmul_rate() -> float:
    """TFLOP/s of a bfloat16 matmul of 8192^3, ten in a row."""
    n, times = (256, 2) if DRY else (8192, 10)
    key = jax.random.key(0)
    a, b = (jax.random.normal(k, (n, n), jnp.bfloat16) for k in jax.random.split(key))
    b = b * jnp.bfloat16(n**-0.5)  # so that products stay of the size of a

    @jax.jit
    def chain(a: Any, b: Any) -> Any:
        for _ in range(times):
            a = a @ b
        return a

    return 2 * n**3 * times / seconds(partial(chain, a, b)) / 1e12


# attention


def attention(_: str, __: Path) -> None:
    """Each form against the textbook's in float32: errors; milliseconds in bfloat16."""
    device = jax.devices()[0]
    tell(device=device.device_kind, platform=device.platform, jax=jax.__version__)
    tell(matmul_tflops=matmul_rate())
    # pictures, heads, tokens, channels, group tokens
    shapes = {"l14_448": (8, 16, 1089, 64, 64), "b16_480": (8, 12, 965, 64, 64)}
    if DRY:
        shapes = {"tiny": (2, 2, 257, 64, 8)}
    for title, (*shape, groups) in shapes.items():
        keys = jax.random.split(jax.random.key(1), 5)
        *qkv, weights = (jax.random.normal(key, shape) for key in keys[:4])
        rounded = [x.astype(jnp.bfloat16) for x in qkv]
        wide = [x.astype(jnp.float32) for x in rounded]
        rest = (3 * jax.random.normal(keys[4], shape[1:2]), weights)
        with jax.default_matmul_precision("float32"):
            exact = attend_both_ways(PLAIN, groups)(*wide, *rest)
        for name, forms in all_forms().items():
            if name != "plain_layers":
                figures = timed_attention(forms, groups, (*rounded, *rest), exact)
                tell(**{f"{title}/{name}": figures})


def timed_attention(
    forms: Forms, groups: int, arguments: Any, exact: Any
) -> dict[str, Any]:
    """Errors of output and gradients; milliseconds forward, and both ways."""
    both = attend_both_ways(forms, groups)
    errors = jax.tree.map(relative_error, both(*arguments), exact)

    @jax.jit
    def forward(q: Any, k: Any, v: Any, bias: Any, _: Any) -> Any:
        return forms.attend(q, k, v, None, bias, groups)

    duration = seconds(partial(both, *arguments))
    pictures, heads, tokens, channels = arguments[0].shape
    flops = 12 * pictures * heads * tokens**2 * channels
    return {
        "errors": dict(zip(("out", "q", "k", "v", "bias"), errors, strict=True)),
        "forward_ms": 1e3 * seconds(partial(forward, *arguments)),
        "both_ms": 1e3 * duration,
        "both_tflops": flops / duration / 1e12,
    }


def all_forms() -> dict[str, Forms]:
    """The textbook's, the fast ones, this platform's, and this with plain layers."""
    ours = for_platform(jax.default_backend())
    mixed = ours._replace(dense=PLAIN.dense, layer_norm=PLAIN.layer_norm)
    return {"plain": PLAIN, "fast": FAST, "platform": ours, "plain_layers": mixed}


def attend_both_ways(forms: Forms, groups: int) -> Any:
    """Output and gradients of attention, jitted."""

    def total(q: Any, k: Any, v: Any, bias: Any, weights: Any) -> Any:
        out = forms.attend(q, k, v, None, bias, groups)
        return (out.astype(jnp.float32) * weights).sum(), out

    @jax.jit
    def run(*arguments: Any) -> Any:
        gradients, out = jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True)(*arguments)
        return (out, *gradients)

    return run


def relative_error(got: Any, expected: Any) -> float:
    """|got - expected| / |expected|, of vectors."""
    a, b = (np.asarray(x, np.float64).ravel() for x in (got, expected))
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


# the training step


def config_of(size: str) -> Config:
    """configs/unires.py's, or in a dry run one that is small."""
    config: Config = runpy.run_path(ROOT / "configs" / "unires.py")["get_config"](size)
    if DRY:
        config.model = ModelConfig(
            image_size=64,
            vision=VisionConfig(patch=16, width=32, depth=4, heads=2, mlp=64),
            text=TextConfig(vocab=1024, context=32, width=32, depth=2, heads=2, mlp=64),
            width=32,
            heads=2,
            pixel_layers=(2, 3),
        )
        config.data.lengths = (16, 32)
    config.model.dtype = "bfloat16"
    config.data.expressions = EXPRESSIONS
    config.mesh.fsdp = 1
    return config


def with_depth(config: Config, vision: int, text: int, batch: int) -> Config:
    """A copy with so many blocks, and pictures in a batch.

    Pixels take their features from its last block where it is shallower than theirs.
    """
    layers = sorted({min(i, vision - 1) for i in config.model.pixel_layers})
    model = dataclasses.replace(
        config.model,
        vision=dataclasses.replace(config.model.vision, depth=vision),
        text=dataclasses.replace(config.model.text, depth=text),
        pixel_layers=tuple(layers),
    )
    train = dataclasses.replace(config.train, batch=batch, accumulation=1)
    return dataclasses.replace(config, model=model, train=train)


def noise(config: Config) -> Batch:
    """A batch of noise."""
    rng = np.random.default_rng(0)
    b, k, s = config.train.batch, config.data.expressions, config.model.image_size
    grid = mask_grid(config.model)
    return Batch(
        images=rng.integers(0, 256, (b, s, s, 3), dtype=np.uint8),
        extent=np.full((b, 2), s, np.int32),
        tokens=rng.integers(1, 1000, (b, k, LENGTH), dtype=np.int32),
        lengths=np.full((b, k), LENGTH, np.int32),
        masks=rng.integers(0, 256, (b, k, grid, grid), dtype=np.uint8),
        valid=np.ones((b, k), bool),
        no_target=np.zeros((b, k), bool),
        level=np.zeros((b, k), np.int32),
    )


def step(argument: str, _: Path) -> None:
    """The training step, at few pictures and then at as many as should fit.

    A GPU's programs compile for minutes: the first figures come after one compilation.
    """
    size, _, remat = argument.partition("_")
    config = config_of(size)
    config.model.remat = "full" if remat else "none"
    tell(matmul_tflops=matmul_rate())
    batch = 2 if DRY else 16
    figures = timed_step(with_batch(config, batch))
    tell(at_first=figures)
    gradients = 4e-9 * count_parameters(config)
    whole = figures["temporaries_gb"]  # gradients may lie elsewhere
    picture = max(whole - gradients, whole / 10) / batch
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", 2e9) / 1e9
    # Beside the gradients stay parameters, their average and two moments.
    most = 4 if DRY else int((0.85 * limit - 5 * gradients) / picture) // 8 * 8
    tell(picture_gb=picture, estimated_batch=most)
    while most > batch:
        try:
            tell(at_most=timed_step(with_batch(config, most)))
            return
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            tell(too_large=most)
            most = int(most * 0.8) // 8 * 8


def with_batch(config: Config, batch: int) -> Config:
    """A copy with so many pictures in a batch."""
    vision, text = config.model.vision.depth, config.model.text.depth
    return with_depth(config, vision, text, batch)


def count_parameters(config: Config) -> int:
    """Numbers in a model."""
    return sum(x.size for x in jax.tree.leaves(Apply(config.model).abstract))


def recipe_of(config: Config) -> Any:
    """The recipe of a config on the first device."""
    return make_recipe(config, mesh_lib.make_mesh(config.mesh, jax.devices()[:1]))


def timed_step(config: Config) -> dict[str, Any]:
    """A step of a config, compiled and timed."""
    recipe = recipe_of(config)
    batch = mesh_lib.feed(noise(config), recipe.mesh)
    start = time.perf_counter()
    with jax.set_mesh(recipe.mesh):
        compiled = recipe.step.lower(recipe.state, batch).compile()
        compile_seconds = time.perf_counter() - start
        tell(compile_s=compile_seconds)  # at once, as the rest may not be reached
        carried = [recipe.init()]

        def update() -> Any:
            carried[0], metrics = compiled(carried[0], batch)
            return metrics

        duration = seconds(update)
    rate, flops = matmul_rate(), train_step_flops(config, LENGTH)
    memory = compiled.memory_analysis()
    return {
        "batch": config.train.batch,
        "temporaries_gb": memory.temp_size_in_bytes / 1e9,
        "expressions": EXPRESSIONS,
        "remat": config.model.remat,
        "compile_s": compile_seconds,
        "step_s": duration,
        "pictures_per_s": config.train.batch / duration,
        "model_tflops_per_step": flops / 1e12,
        "tflops": flops / duration / 1e12,
        "matmul_tflops_after": rate,
        "mfu": flops / duration / 1e12 / rate,
    }


def forms(argument: str, _: Path) -> None:
    """A shallow step in every form: its gradient against the textbook's, and its speed.

    The reference is the textbook form in float32.
    """
    config = with_depth(config_of(argument), 4, 2, 2 if DRY else 8)
    config.model.remat = "none"
    tell(matmul_tflops=matmul_rate())
    batch = jax.tree.map(jnp.asarray, noise(config))
    params = Apply(config.model).init(jax.random.key(0))
    exact = dataclasses.replace(config.model, dtype="float32")
    with jax.default_matmul_precision("float32"):
        gradient = gradient_of(dataclasses.replace(config, model=exact), PLAIN)
        expected = flat(gradient(params, batch))
    flops = train_step_flops(config, LENGTH)
    for name, form in all_forms().items():
        gradient = gradient_of(config, form)
        error = relative_error(flat(gradient(params, batch)), expected)
        duration = seconds(lambda g=gradient: g(params, batch))
        rate = flops / duration / 1e12
        tell(**{name: {"gradient_error": error, "ms": 1e3 * duration, "tflops": rate}})


def gradient_of(config: Config, form: Forms) -> Any:
    """The gradient of the loss in a form, jitted."""
    apply = Apply(config.model)

    @jax.jit
    def run(params: Any, batch: Batch) -> Any:
        with use(form):
            return accumulate(apply, config, params, batch)[0]

    return run


def flat(tree: Any) -> np.ndarray:
    """All numbers of a tree in a row."""
    leaves = [np.asarray(x, np.float32).ravel() for x in jax.tree.leaves(tree)]
    return np.concatenate(leaves)


# answering


def predictor(argument: str, _: Path) -> None:
    """The Predictor and evaluation's driver at 1, 8 and 64 expressions a picture."""
    config = config_of(argument)
    rules = preprocessing(config.model).text
    tokenizer = Tokenizer((BUNDLED / "tokenizer.json").read_text("utf-8"), rules)
    params = jax.device_get(Apply(config.model).init(jax.random.key(0)))
    meta = {"no_target_trained": True}
    loaded = Loaded(Path("noise"), config, tokenizer, params, meta)
    model, rng = Predictor(loaded), np.random.default_rng(0)
    photo = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    counts = (1, 2) if DRY else (1, 8, 64)
    for count in counts:
        sentences = [f"the red car number {i} on the left" for i in range(count)]
        duration = seconds(lambda s=sentences: answered(model, photo, s), 20)
        picture = model.encode_image(photo)
        again = seconds(lambda s=sentences, p=picture: answered(model, p, s), 20)
        figures = {"ms": 1e3 * duration, "pictures_per_s": 1 / duration}
        tell(**{f"predictor/{count}": figures | {"ms_picture_known": 1e3 * again}})
    steps = Compiled(config, jax.local_devices()[:1]).bind(params)
    pictures = 2 if DRY else config.eval.batch
    shapes = FixedShapes(pictures, config.eval.expressions)
    answerer = Answerer(steps, tokenizer, config, shapes, True)
    photos = [photo] * pictures
    for count in counts:
        questions = [
            (i, f"the red car number {j} on the left")
            for i in range(pictures)
            for j in range(count)
        ]
        duration = seconds(lambda q=questions: evaluated(answerer, photos, q), 5)
        tell(**{f"evaluation/{count}": {"pictures_per_s": pictures / duration}})


def answered(model: Predictor, picture: Any, sentences: list[str]) -> None:
    """The masks of a picture at its size."""
    for segment in model.segment(picture, sentences):
        _ = segment.mask


def evaluated(answerer: Answerer, photos: list[Any], questions: Any) -> None:
    """What evaluate.py asks of the model; masks at the pictures' size, not scored."""
    encoded = answerer.look(photos)
    for _, segment in answerer.answers(encoded, questions):
        _ = segment.mask


def quickstart(_: str, folder: Path) -> None:
    """The quickstart trained to its end and scored by evaluate.py; its table."""
    data, work = folder / "data", folder / "run"
    table = data / "partworld" / "1.0.0" / "tokenizer.json"
    start = time.monotonic()
    while not table.is_file():  # gpu.py builds it, and limits this piece's time
        log = (folder / "build.log").read_text(errors="replace")
        if "Traceback" in log or "error:" in log:
            raise SystemExit(log[-2000:])
        time.sleep(0.5)
    tell(waited_for_data_s=time.monotonic() - start)
    settings = [f"--config.data.dir={data}"]
    if DRY:
        settings += ["--config.train.steps=2", "--config.train.eval_every=0"]
    start = time.monotonic()
    program(
        "train.py", "--config=configs/quickstart.py", f"--workdir={work}", *settings
    )
    tell(train_s=time.monotonic() - start)
    start = time.monotonic()
    output = program("evaluate.py", f"--workdir={work}")
    duration = time.monotonic() - start
    metrics = json.loads((work / "evaluation" / "metrics.json").read_text("utf-8"))
    pictures = sum(block["images"] for block in metrics.values())
    tell(evaluate_s=duration, evaluate_pictures_per_s=pictures / duration)
    lines = (work / "metrics.jsonl").read_text("utf-8").splitlines()
    shown = ("object", "part", "pooled", "no_target", "images", "expressions")
    blocks = {
        split: {name: block[name] for name in shown if name in block}
        for split, block in metrics.items()
    }
    tell(metrics=blocks, table=plain_text(output)[-6000:], last=json.loads(lines[-1]))


def program(*arguments: str) -> str:
    """The output of a script of ours, run to its end."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return done.stdout


def plain_text(output: str) -> str:
    """Without a terminal's colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


PIECES: dict[str, Callable[[str, Path], None]] = {
    "attention": attention,
    "step": step,
    "forms": forms,
    "predictor": predictor,
    "quickstart": quickstart,
}

if __name__ == "__main__":
    main()
