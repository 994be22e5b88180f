"""The page in a real Chromium: upload, type, see, download, threshold, errors."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from helpers.browser import Browser, missing
from helpers.page_site import given, page_of, site_of
from helpers.pictures import noise
from helpers.predictors import Counting, Slow
from helpers.tiny import WORDS
from PIL import Image

from unires_jax.inference.loaded import Loaded
from unires_jax.serving import overlay
from unires_jax.serving.page.desk import Desk, Limits
from unires_jax.serving.page.site import read_examples
from unires_jax.serving.photo import encode_png

if reason := missing():
    pytest.skip(reason, allow_module_level=True)

from selenium.webdriver.common.keys import Keys

LIMITS = Limits(file_bytes=2 << 20)
Visit = tuple[Browser, str, Counting]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory, loaded: Loaded) -> Iterator[Visit]:
    """A browser at the page, its address, and the model behind it.

    The model's no-target head counts as untrained, so that every mask is drawn.
    """
    untrained = dataclasses.replace(loaded, meta={"no_target_trained": False})
    model = Counting(untrained)
    folder = tmp_path_factory.mktemp("browser")
    with page_of(Desk(model, LIMITS)) as (address, _), Browser(folder) as browser:
        browser.open(address)
        yield browser, address, model


def shown(browser: Browser) -> np.ndarray:
    """The pixels of the picture that the page shows, as the server sent them."""
    data = httpx.get(browser.key()).content
    return np.array(Image.open(io.BytesIO(data)))


def test_a_person_gets_the_predictors_masks(visit: Visit, tmp_path: Path) -> None:
    browser, _, model = visit
    pixels = noise(3, 600, 820)  # of a size that is shown unscaled
    (tmp_path / "mine.png").write_bytes(encode_png(pixels))
    browser.upload(tmp_path / "mine.png")
    browser.type("\n".join(WORDS[:2]))
    before = browser.key()
    browser.one("#find").click()
    first = browser.answered(before)
    assert model.looked == 1
    expected = model.segment(pixels, WORDS[:2])
    np.testing.assert_array_equal(shown(browser), overlay.draw(pixels, expected))
    cells = [x.text for x in browser.all("#answers tbody td")]
    for answer in expected:
        assert answer.expression in cells and f"{answer.score:.2f}" in cells

    browser.type(WORDS[2])  # another sentence: the picture is not looked at again
    looked = model.looked
    browser.one("#sentences textarea").send_keys(Keys.SHIFT, Keys.ENTER)
    second = browser.answered(first)
    assert model.looked == looked
    answer = model.segment(pixels, WORDS[2])[0]
    np.testing.assert_array_equal(shown(browser), overlay.draw(pixels, [answer]))

    decoded = model.decoded  # the slider: no model runs
    slider = browser.one("#threshold input[type=range]")
    slider.send_keys(Keys.ARROW_LEFT * 5)
    browser.until(lambda: browser.key().endswith("threshold=0.45"), "the slider")
    browser.answered(second)
    assert (model.looked, model.decoded) == (looked + 1, decoded)
    lower = answer.at(0.45)
    assert lower.area > answer.area
    np.testing.assert_array_equal(shown(browser), overlay.draw(pixels, [lower]))

    browser.one("a.masks-zip").click()
    browser.one("a.masks-json").click()
    files = [browser.downloads / x for x in ("masks.zip", "masks.json")]
    browser.until(lambda: all(x.exists() for x in files), "downloads")
    with zipfile.ZipFile(files[0]) as archive:
        mask = np.array(Image.open(io.BytesIO(archive.read("mask.0.png"))))
    np.testing.assert_array_equal(mask > 0, lower.mask)
    first = json.loads(files[1].read_text())["expressions"][0]
    assert first["rle"] == lower.rle and first["expression"] == WORDS[2]


def test_examples_and_their_parts(visit: Visit) -> None:
    browser, _, _ = visit
    before = browser.key()
    browser.all("#level input")[0].click()
    example = read_examples()[1]
    browser.all("#examples button")[1].click()
    after = browser.answered(before)
    box = browser.one("#sentences textarea")
    assert box.get_property("value") == "\n".join(example.object)
    browser.all("#level input")[1].click()
    browser.answered(after)
    assert box.get_property("value") == "\n".join(example.part)
    cells = [x.text for x in browser.all("#answers td.sentence")]
    assert cells == list(example.part)
    before = browser.key()
    browser.one("#find").click()  # an example's picture can be asked about again
    browser.answered(before)


@pytest.mark.parametrize(
    ("name", "data", "text", "error"),
    [
        ("a.png", b"no picture", "the car", "no known picture format"),
        ("b.png", encode_png(noise(0))[:700], "the car", "cannot be decoded"),
        ("c.png", encode_png(noise(0)), " ", "at least one sentence"),
        ("d.png", encode_png(noise(0)), "a\n" * 33, "at most 32"),
    ],
)
def test_errors_are_readable(
    visit: Visit, tmp_path: Path, name: str, data: bytes, text: str, error: str
) -> None:
    browser, address, _ = visit
    browser.open(address)
    (tmp_path / name).write_bytes(data)
    browser.upload(tmp_path / name)
    browser.type(text)
    browser.one("#find").click()
    message = browser.toast()
    assert error in message and "Traceback" not in message


def test_a_large_file_and_no_file_are_told(visit: Visit, tmp_path: Path) -> None:
    browser, address, _ = visit
    browser.open(address)
    browser.type("the car")
    browser.one("#find").click()
    assert "Choose a picture" in browser.toast()
    browser.open(address)
    (tmp_path / "large.png").write_bytes(b"0" * (3 << 20))
    browser.upload(tmp_path / "large.png")
    assert "maximum" in browser.toast()


def test_nothing_was_asked_of_another_host(visit: Visit) -> None:
    browser, address, _ = visit
    assert browser.foreign(address) == set()


def test_a_busy_page_says_so(visit: Visit, loaded: Loaded) -> None:
    browser, _, _ = visit
    model = Slow(loaded)
    with site_of(model, Limits(waiting=1)) as site:
        path = site.upload(encode_png(noise(0))).json()[0]
        browser.open(site.address)
        try:
            browser.until(  # until two are at work and one waits
                lambda: site.join([given(path), WORDS[0], 0.5], "a").status_code == 503,
                "a full queue",
            )
            browser.all("#examples button")[0].click()
            assert "busy" in browser.toast()
        finally:
            model.may.set()
