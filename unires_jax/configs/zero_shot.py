"""The paper's zero-shot setting: a pre-trained run scored on benchmarks it never saw.

    python train.py --config=configs/zero_shot.py --workdir=runs/zero_shot \
        --config.clip=openai/clip-vit-base-patch16
    python evaluate.py --workdir=runs/zero_shot

The pre-training of configs/unires.py, evaluated on RefCOCO, RefCOCO+, RefCOCOg and
RefCOCOm, none of whose images is trained on. The argument is that of configs/unires.py:
b32, b16, l14 or siglip2_b16. MRES-32M was never released: it runs on MRES-style data
prepared under `data/mres32m`; no result, no run time is claimed.
"""

import runpy
from pathlib import Path

from unires_jax.config import Config

SPLITS = (
    *(f"refcoco/refcoco_unc:{s}" for s in ("val", "testA", "testB")),
    *(f"refcoco/refcocoplus_unc:{s}" for s in ("val", "testA", "testB")),
    *(f"refcoco/refcocog_umd:{s}" for s in ("val", "test")),
    *(f"refcocom:{s}" for s in ("val", "testA", "testB")),
)


def get_config(size: str = "b16") -> Config:
    """The config for towers of configs/unires.py, b16 if not said."""
    path = Path(__file__).with_name("unires.py")
    config: Config = runpy.run_path(str(path))["get_config"](size)
    config.name = f"zero_shot_{size}"
    config.eval.splits = SPLITS
    return config
