"""Every protocol on real annotations, against the same arithmetic on whole arrays."""

import json

import cv2
import numpy as np
import pytest
from helpers.nearest import nearest
from helpers.paths import REAL
from pycocotools import mask as coco_mask

from unires_jax.evaluation import metrics
from unires_jax.evaluation.protocols import PROTOCOLS

COCO = REAL / "coco/instances.json"
pytestmark = pytest.mark.skipif(not COCO.exists(), reason="no real masks here")


@pytest.fixture(scope="module")
def cases() -> list[tuple[np.ndarray, list[list[float]]]]:
    """A blurred answer and the polygons of 250 annotations, most with several first."""
    data = json.loads(COCO.read_text())
    sizes = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    entries = [a for a in data["annotations"] if isinstance(a["segmentation"], list)]
    entries.sort(key=lambda a: -len(a["segmentation"]))
    answers = []
    for a in entries[:250]:
        layers = coco_mask.decode(
            coco_mask.frPyObjects(a["segmentation"], *sizes[a["image_id"]])
        )
        share = cv2.GaussianBlur(layers.max(2).astype(np.float32), (0, 0), 9)
        answers.append((share > 0.4, a["segmentation"]))
    assert any(len(p) > 4 for _, p in answers)
    return answers


def whole_arrays(
    name: str, answer: np.ndarray, polygons: list[list[float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and ground truth as the project has them before it counts pixels."""
    height, width = answer.shape
    layers = coco_mask.decode(coco_mask.frPyObjects(polygons, height, width)).sum(2)
    truth = layers == 1 if name in ("lavt", "lisa") else layers > 0
    if name not in ("lavt", "rela"):
        return answer, truth
    index = np.ix_(nearest(height, 480), nearest(width, 480))
    if name == "lavt":
        return answer[index], truth[index]
    scaled = []
    for polygon in polygons:
        points = np.array(polygon).reshape(-1, 2)
        points[:, 0] *= 480 / width
        points[:, 1] *= 480 / height
        scaled.append(points.ravel().tolist())
    layers_at_480 = coco_mask.decode(coco_mask.frPyObjects(scaled, 480, 480))
    return answer[index], layers_at_480.any(2)


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_counts_and_means(
    name: str, cases: list[tuple[np.ndarray, list[list[float]]]]
) -> None:
    torch = pytest.importorskip("torch")
    counted = []
    for answer, polygons in cases:
        a, b = whole_arrays(name, answer, polygons)
        counted.append(((a & b).sum(), (a | b).sum()))
    inside, around = np.array(counted, np.int64).T
    answers, outlines = zip(*cases, strict=True)
    truths = [coco_mask.merge(coco_mask.frPyObjects(p, *a.shape)) for a, p in cases]
    counts = metrics.pairs(name, answers, truths, outlines)
    np.testing.assert_array_equal(counts, (inside, around))
    i, u = torch.tensor(inside), torch.tensor(around)
    mean = {  # in the projects' own types; float32 means hold 1e-3 percent
        "native": (inside / around).mean(),
        "cris": (inside / (around + 1e-6)).mean(),
        "lavt": (inside / around).mean(),
        "rela": (inside / around).mean(),
        "xdecoder": float((i * 1.0 / (u + 1e-6)).sum() / len(i)),
        "mmdet": float((i * 1.0 / u).sum() / len(i)),
        "lisa": (inside / (around + 1e-5)).sum() / (len(inside) + 1e-5),
    }[name]
    score = metrics.score(name, answers, truths, polygons=outlines)
    tolerance = 1e-5 if PROTOCOLS[name].single else 1e-9
    assert score.mIoU == pytest.approx(mean, abs=tolerance)
    assert score.oIoU == pytest.approx(inside.sum() / around.sum(), abs=1e-12)
