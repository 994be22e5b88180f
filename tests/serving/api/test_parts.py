"""The parts of the server that need neither a socket nor a model."""

import jax.numpy as jnp
import numpy as np
import pytest

from unires_jax import parameters
from unires_jax.inference.answer import EncodedPicture
from unires_jax.pixels.canvas import place
from unires_jax.serving.api.admission import Admission
from unires_jax.serving.api.app import check_token
from unires_jax.serving.api.metrics import Metrics
from unires_jax.serving.api.pictures import Picture, Pictures
from unires_jax.serving.api.problems import Problem


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def picture(nbytes: int = 100) -> Picture:
    features = {"patches": np.zeros(nbytes, np.uint8), "low": None}
    return Picture(EncodedPicture(place(30, 40, 32), features, 0), ())


def test_pictures_are_let_go_when_they_are_not_used() -> None:
    clock = Clock()
    kept = Pictures(1000, 60.0, clock)
    first, second = kept.put(picture()), kept.put(picture())
    assert first != second and kept.holds() == (2, 200)
    clock.now = 50
    assert kept.get(first) is not None
    clock.now = 100
    assert kept.get(second) is None and kept.get(first) is not None
    assert kept.holds() == (1, 100)
    clock.now = 200
    assert kept.holds() == (0, 0) and kept.get("") is None


def test_the_least_recently_used_make_room() -> None:
    kept = Pictures(300, 60.0, Clock())
    keys = [kept.put(picture()) for _ in range(3)]
    kept.get(keys[0])
    newest = kept.put(picture())
    assert [kept.get(k) is not None for k in keys] == [True, False, True]
    large = kept.put(picture(1000))  # always the newest
    assert kept.get(newest) is None and kept.get(large) is not None
    assert kept.holds() == (1, 1000)
    assert picture().size == (30, 40)


def test_admission_counts_and_frees() -> None:
    admission = Admission(2, 100)
    with admission.enter(1.0) as take, admission.enter(1.0) as more:
        take(60)
        with pytest.raises(Problem) as refused, admission.enter(3.2):
            pass
        assert refused.value.status == 429
        assert refused.value.headers == {"retry-after": "4"}
        with pytest.raises(Problem) as large:
            more(41)
        assert large.value.status == 503
        more(40)
        assert (admission.inside, admission.held) == (2, 100)
    assert (admission.inside, admission.held) == (0, 0)
    with pytest.raises(ZeroDivisionError), admission.enter(1.0) as take:
        take(5)
        _ = 1 / 0
    assert (admission.inside, admission.held) == (0, 0)


def test_metrics_are_prometheus_text() -> None:
    metrics = Metrics()
    metrics.model.set(1, name='a"b\\c\nd')
    metrics.seconds.add(0.02, path="/v1/segment")
    metrics.seconds.add(99.0, path="/v1/segment")
    metrics.requests.add(path="/v1/segment", status="200")
    metrics.requests.add(path="/v1/segment", status="200")
    metrics.requests.add(1_234_567, path="/docs", status="200")
    metrics.nbytes.set(1_234_567_890)
    lines = metrics.text().splitlines()
    assert r'unires_model_info{name="a\"b\\c\nd"} 1' in lines
    assert 'unires_requests_total{path="/v1/segment",status="200"} 2' in lines
    assert 'unires_requests_total{path="/docs",status="200"} 1234567' in lines
    assert "unires_kept_bytes 1234567890" in lines  # rates need every digit
    name = "unires_request_seconds"
    for bound, count in (("0.01", 0), ("0.025", 1), ("30", 1), ("+Inf", 2)):
        assert f'{name}_bucket{{path="/v1/segment",le="{bound}"}} {count}' in lines
    assert f'{name}_count{{path="/v1/segment"}} 2' in lines
    kinds = [line.split()[2:] for line in lines if line.startswith("# TYPE")]
    assert ["unires_requests_total", "counter"] in kinds
    assert len(kinds) == len({tuple(x) for x in kinds}) == len(vars(metrics))


@pytest.mark.parametrize("given", ["", "secre", "secrets", "s\u00e9cret", "\udcff"])
def test_only_the_token_is_the_token(given: str) -> None:
    check_token("secret", "secret")
    check_token(given, "")
    with pytest.raises(Problem) as refused:
        check_token(given, "secret")
    assert refused.value.status == 401


def test_a_fingerprint_is_of_names_shapes_and_values_in_either_type() -> None:
    """An export in bfloat16 has that of the run."""
    tree = {"a": np.arange(6, dtype=np.float32) / 3, "b": {"c": np.float32(1)}}
    same = (
        {"b": {"c": np.float32(1)}, "a": tree["a"]},
        {**tree, "a": tree["a"].astype(jnp.bfloat16)},
    )
    others = (
        {**tree, "a": tree["a"] * np.float32(1.01)},
        {**tree, "a": tree["a"].reshape(2, 3)},
        {**tree, "b": {"d": np.float32(1)}},
    )
    first, *rest = (parameters.fingerprint(x) for x in (tree, *same, *others))
    assert rest[:2] == [first, first] and len({first, *rest[2:]}) == 4
    assert len(first) == 16
