"""The page in a real Chromium, as a picky person uses it."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from helpers import axe
from helpers.browser import DRAWN, PATIENCE, Browser, missing
from helpers.page_site import given, page_of, site_of
from helpers.pictures import noise
from helpers.predictors import Counting, Slow
from helpers.tiny import WORDS
from PIL import Image

from unires_jax.inference.loaded import Loaded
from unires_jax.serving import overlay
from unires_jax.serving.page.desk import Limits
from unires_jax.serving.page.desks import Desks
from unires_jax.serving.page.shelf import read_shelf
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import EncodedImage, ImageLike

if reason := missing():
    pytest.skip(reason, allow_module_level=True)

from selenium.webdriver.common.keys import Keys

LIMITS = Limits(file_bytes=2 << 20)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200
TYPED = """
const [box, text] = arguments;
box.value = text;
box.dispatchEvent(new Event("input"));
"""
HURRIED = """
const [box, find, texts, done] = arguments;
(async () => {
  for (const text of texts) {
    box.value = text;
    box.dispatchEvent(new Event("input"));
    await new Promise((later) => setTimeout(later, 20));
    find.click();
  }
  done();
})();
"""
UNLIKE = "looks unlike those that the model was trained on"
NEEDED = (  # to ask, and to see what was answered
    *("#picker .choose", "#shelf .switch", "#shelf .example", "#sentences textarea"),
    *("#find", "#keys kbd", "#answers .sheet", "#answers .tools a.overlay"),
    *("#answers tbody tr", "#threshold input[type=range]", "#answers a.masks-zip"),
)


class Far(EncodedImage):
    """One that is far from all that the model knows."""

    @property
    def distance(self) -> float:
        return 2.0


class Doubting(Counting):
    """The Predictor, to which pictures 64 pixels wide look unlike what it knows."""

    def encode_image(self, image: ImageLike) -> EncodedImage:
        encoded = super().encode_image(image)
        if encoded.pixels.shape[1] == 64:
            return Far(encoded.pixels, encoded.note, encoded.encoded)
        return encoded


Visit = tuple[Browser, str, Counting]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory, loaded: Loaded) -> Iterator[Visit]:
    """A browser at the page, its address, and the model behind it.

    The model's no-target head counts as untrained, so that every mask is drawn.
    """
    untrained = dataclasses.replace(loaded, meta={"no_target_trained": False})
    model = Doubting(untrained)
    folder = tmp_path_factory.mktemp("browser")
    with (
        page_of(Desks({"a": lambda: model}, LIMITS)) as (address, _),
        Browser(folder) as browser,
    ):
        yield browser, address, model


def pixels_of(browser: Browser, css: str, attribute: str) -> np.ndarray:
    """The picture that an element names, as the server sends it."""
    address = browser.one(css).get_property(attribute)
    data = httpx.get(address, timeout=PATIENCE).content
    return np.array(Image.open(io.BytesIO(data)))


def overlay_of(browser: Browser) -> np.ndarray:
    """The picture with its masks, as it is downloaded."""
    return pixels_of(browser, "#answers a.overlay", "href")


def sentences_of(browser: Browser) -> str:
    return str(browser.one("#sentences textarea").get_property("value"))


def test_it_opens_with_an_answer_and_shows_all_that_is_needed(visit: Visit) -> None:
    browser, address, model = visit
    browser.resize(1280, 800)
    counted = model.looked, model.decoded
    browser.open(address)
    assert (model.looked, model.decoded) == counted  # answered before anyone came
    example = read_shelf()[0]
    cells = [x.text for x in browser.all("#answers .alone")]
    assert cells == list(example.part)
    assert sentences_of(browser) == "\n".join(example.part)
    for css in NEEDED:
        elements = browser.all(css)
        assert elements and all(map(browser.sees, elements)), css
    large = [x for x in browser.all("img") if x.size["width"] > 120]
    assert {x.get_attribute("class") for x in large} <= {"picture", "mask"}
    assert len([x for x in large if x.get_attribute("class") == "picture"]) == 1

    browser.one("#answers .remove").click()
    browser.until(lambda: not browser.key(), "an empty page")
    browser.until(lambda: not sentences_of(browser), "no sentences of an example")
    assert not browser.all("#answers img, #answers tbody")
    assert not browser.one("#threshold").is_displayed()
    browser.one("#find").click()
    assert "Choose a picture" in browser.toast()


def test_a_person_gets_the_predictors_masks(visit: Visit, tmp_path: Path) -> None:
    browser, address, model = visit
    opened = browser.open(address)
    pixels = noise(3, 600, 820)  # of a size that is shown unscaled
    (tmp_path / "mine.png").write_bytes(encode_png(pixels))
    looked = model.looked
    browser.upload(tmp_path / "mine.png")
    waiting = browser.answered(opened)  # the picture, which nothing was asked about
    assert not browser.all("#answers tbody") and sentences_of(browser) == ""
    box = browser.one("#sentences textarea")
    box.send_keys(WORDS[0], Keys.SHIFT, Keys.ENTER, Keys.NULL, WORDS[1], Keys.ENTER)
    first = browser.answered(waiting)
    assert sentences_of(browser) == "\n".join(WORDS[:2])
    assert model.looked == looked + 1
    expected = model.segment(pixels, WORDS[:2])
    np.testing.assert_array_equal(overlay_of(browser), overlay.draw(pixels, expected))
    cells = [x.text for x in browser.all("#answers tbody td")]
    for i, answer in enumerate(expected):
        assert answer.expression in cells and f"{answer.score:.2f}" in cells
        layer = pixels_of(browser, f"#answers .mask[data-row='{i}']", "src")
        expected_layer = overlay.layer(answer.mask, overlay.colour(i))
        np.testing.assert_array_equal(layer, expected_layer)
    said = browser.one("#answers [role=status]").get_property("textContent")
    assert "2 answered" in said and WORDS[1] in said

    box.clear()  # another sentence: the picture is not looked at again
    box.send_keys(WORDS[2])
    looked = model.looked
    browser.one("#find").click()
    second = browser.answered(first)
    assert model.looked == looked
    answer = model.segment(pixels, WORDS[2])[0]
    np.testing.assert_array_equal(overlay_of(browser), overlay.draw(pixels, [answer]))

    decoded = model.decoded  # the slider: no model runs
    slider = browser.one("#threshold input[type=range]")
    slider.send_keys(Keys.ARROW_LEFT * 5)
    browser.until(lambda: browser.key().endswith(" 0.45"), "the slider")
    browser.answered(second)
    assert (model.looked, model.decoded) == (looked + 1, decoded)
    lower = answer.at(0.45)
    assert lower.area > answer.area
    np.testing.assert_array_equal(overlay_of(browser), overlay.draw(pixels, [lower]))

    for css in ("a.masks-zip", "a.masks-json", "a.overlay"):
        browser.one(css).click()
    names = ("masks.zip", "masks.json", "overlay.png")
    files = [browser.downloads / x for x in names]
    browser.until(lambda: all(x.exists() for x in files), "downloads")
    with zipfile.ZipFile(files[0]) as archive:
        mask = np.array(Image.open(io.BytesIO(archive.read("mask.0.png"))))
    np.testing.assert_array_equal(mask > 0, lower.mask)
    entry = json.loads(files[1].read_text())["expressions"][0]
    assert entry["rle"] == lower.rle and entry["expression"] == WORDS[2]
    saved = np.array(Image.open(files[2]))
    np.testing.assert_array_equal(saved, overlay.draw(pixels, [lower]))


def test_masks_alone_hidden_and_enlarged(visit: Visit) -> None:
    browser, address, _ = visit
    before = browser.open(address)
    browser.all("#shelf .example")[1].click()  # three sentences
    browser.answered(before)
    rows = browser.all("#answers tbody tr")
    assert browser.masks() == [0, 1, 2]
    browser.hover(rows[1].find_element("css selector", ".number"))
    browser.until(lambda: browser.masks() == [1], "the mask of the row alone")
    browser.hover(browser.one(".lead h1"))
    browser.until(lambda: browser.masks() == [0, 1, 2], "all masks again")
    whole = overlay_of(browser)

    eye = rows[0].find_element("css selector", ".eye")
    eye.click()
    browser.hover(browser.one(".lead h1"))
    browser.until(lambda: browser.masks() == [1, 2], "a hidden mask")
    assert eye.get_attribute("aria-pressed") == "false"
    assert (overlay_of(browser) != whole).any()  # it is downloaded as it is seen
    slider = browser.one("#threshold input[type=range]")
    slider.send_keys(Keys.ARROW_LEFT)
    browser.until(lambda: browser.key().endswith(" 0.49"), "the slider")
    assert browser.masks() == [1, 2]
    eye.click()

    rows[2].find_element("css selector", ".alone").click()  # stays, as on a phone
    browser.hover(browser.one(".lead h1"))
    assert browser.masks() == [2]
    rows[2].find_element("css selector", ".alone").click()
    browser.hover(browser.one(".lead h1"))
    assert browser.masks() == [0, 1, 2]

    small = browser.one("#answers .sheet").size["width"]
    browser.one("#answers .enlarge").click()
    large = browser.one(".unires-zoom .sheet")
    fitted = large.size["width"]
    assert fitted > 1.5 * small
    large.click()
    browser.until(lambda: large.size["width"] > 1.5 * fitted, "twice as near")
    browser.one(".unires-zoom").send_keys(Keys.ESCAPE)
    browser.until(lambda: not browser.all(".unires-zoom"), "the page again")


def test_examples_and_their_parts(visit: Visit) -> None:
    browser, address, _ = visit
    before = browser.open(address)
    objects, parts = browser.all("#shelf .switch button")
    example = read_shelf()[1]
    browser.all("#shelf .example")[1].click()
    before = browser.answered(before)
    assert sentences_of(browser) == "\n".join(example.part)
    objects.click()
    before = browser.answered(before)
    assert sentences_of(browser) == "\n".join(example.object)
    assert objects.get_attribute("aria-pressed") == "true"
    assert parts.get_attribute("aria-pressed") == "false"
    cells = [x.text for x in browser.all("#answers .alone")]
    assert cells == list(example.object)
    browser.one("#find").click()  # an example's picture can be asked about again
    browser.answered(before)


def test_on_a_phone_the_result_comes_first_and_into_view(visit: Visit) -> None:
    browser, address, _ = visit
    browser.resize(390, 844)
    try:
        before = browser.open(address)
        sheet, find = browser.one("#answers .sheet"), browser.one("#find")
        assert browser.sees(sheet) and sheet.location["y"] < find.location["y"]
        wide = "return document.documentElement.scrollWidth"
        assert browser.driver.execute_script(wide) <= 390  # nothing to the side
        browser.type(WORDS[0])
        browser.driver.execute_script("arguments[0].scrollIntoView(false)", find)
        assert not browser.sees(sheet)
        find.click()
        browser.answered(before)
        browser.until(
            lambda: browser.sees(browser.one("#answers .sheet")), "the answer"
        )
    finally:
        browser.resize(1280, 800)


def test_the_last_of_hurried_questions_is_answered(visit: Visit) -> None:
    browser, address, _ = visit
    browser.open(address)
    box, find = browser.one("#sentences textarea"), browser.one("#find")
    for _ in range(3):
        for last in ("blue", "red"):
            texts = [*(f"the {x} car" for x in range(5)), last]
            browser.driver.execute_async_script(HURRIED, box, find, texts)
            browser.until(
                lambda last=last: (
                    [x.text for x in browser.all("#answers .alone")] == [last]
                ),
                "the last answer",
            )
            browser.until(lambda: browser.driver.execute_script(DRAWN), "its masks")


def test_what_a_person_should_know_is_beside_the_answers(
    visit: Visit, tmp_path: Path
) -> None:
    browser, address, _ = visit
    before = browser.open(address)
    (tmp_path / "odd.png").write_bytes(encode_png(noise(1, 48, 64)))
    browser.upload(tmp_path / "odd.png")
    before = browser.answered(before)
    assert UNLIKE in browser.one("#answers .warning").text  # before anything is asked
    box, long = browser.one("#sentences textarea"), f"{WORDS[0]}\n{'red ' * 60}car"
    browser.driver.execute_script(TYPED, box, long)
    browser.one("#find").click()
    browser.answered(before)
    warnings = [x.text for x in browser.all("#answers .warning")]
    assert UNLIKE in warnings[0] and "was not read" in warnings[1]
    # Numbers that mean nothing there are not shown as if they did.
    numbers = [x.text for x in browser.all("#answers tbody .number:not(.area)")]
    assert {*numbers} == {"?"}
    assert all("%" not in x.text for x in browser.all("#answers .there"))


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.png", b"no picture", "no picture that the page knows"),
        ("b.png", encode_png(noise(0))[:700], "damaged or cut off"),
        ("photo.HEIC", HEIC, "HEIC"),
        ("d.png", b"0" * (3 << 20), "3.00 MB, more than the maximum of 2 MB"),
    ],
)
def test_what_cannot_be_read_is_told_at_once(
    visit: Visit, tmp_path: Path, name: str, data: bytes, error: str
) -> None:
    browser, address, _ = visit
    browser.open(address)
    (tmp_path / name).write_bytes(data)
    browser.upload(tmp_path / name)  # nothing is pressed
    message = browser.toast()
    assert error in message and "Traceback" not in message
    assert "image:" not in message
    box = browser.one("#sentences textarea")
    browser.until(lambda: browser.is_free(box), "sentences that can be typed")


def test_what_cannot_be_asked_is_told(visit: Visit) -> None:
    browser, address, _ = visit
    browser.open(address)
    for text, error in ((" ", "at least one sentence"), ("a\n" * 33, "at most 32")):
        box = browser.one("#sentences textarea")
        browser.driver.execute_script(TYPED, box, text)  # Enter would ask
        browser.one("#find").click()
        browser.until(lambda error=error: error in browser.toast(), error)


@pytest.mark.skipif(not axe.SOURCE, reason="axe-core is not installed")
def test_axe_finds_nothing_critical_or_serious(visit: Visit) -> None:
    browser, address, _ = visit
    for theme in ("light", "dark"):
        browser.open(f"{address}/?__theme={theme}")
        assert axe.findings(browser) == []
        browser.one("#answers .remove").click()
        browser.until(lambda: not browser.key(), "an empty page")
        browser.one("#find").click()
        assert browser.toast()
        assert axe.findings(browser) == []
        browser.all("#shelf .example")[-1].click()  # a photograph
        browser.one("#answers .credit")
        assert axe.findings(browser) == []


def test_two_models_side_by_side(visit: Visit, loaded: Loaded) -> None:
    browser, home, model = visit
    desks = Desks({"one": lambda: model, "two": lambda: Counting(loaded)}, LIMITS)

    def shown(answers: Any) -> list[str]:
        eyes = answers.find_elements("css selector", ".eye")
        return [x.get_attribute("aria-pressed") for x in eyes]

    keys = "return [...document.querySelectorAll('.answers')].map(x => x.dataset.key)"
    with page_of(desks) as (address, _):
        browser.open(address)
        assert [x.text for x in browser.all("#answers h2")] == ["one"]
        browser.all("#models input")[1].click()  # nothing else is pressed
        browser.until(lambda: len(browser.all("#answers h2")) == 2, "both answers")
        browser.until(lambda: not browser.all(".sheet.loading"), "both pictures")
        left, right = browser.all(".answers")
        assert left.location["y"] == right.location["y"]
        assert left.location["x"] < right.location["x"]
        # What is hidden in one stays in the other.
        before = shown(right)
        left.find_element("css selector", ".eye").click()
        assert shown(left) == ["false", *["true"] * (len(shown(left)) - 1)]
        assert shown(right) == before
        before = browser.driver.execute_script(keys)
        slider = browser.one("#threshold input[type=range]")
        slider.send_keys(Keys.ARROW_LEFT)
        lower = '.answers[data-threshold="0.49"]'
        browser.until(lambda: len(browser.all(lower)) == 2, "both at the threshold")
        assert browser.driver.execute_script(keys) == before
        assert shown(browser.one(".answers"))[0] == "false"
        if axe.SOURCE:
            assert axe.findings(browser) == []
        browser.all("#models input")[0].click()
        browser.until(lambda: len(browser.all("#answers h2")) == 1, "one alone")
        assert browser.one("#answers h2").text == "two"
        browser.all("#models input")[1].click()
        assert "at least one model" in browser.toast()
        browser.open(home)
    assert browser.foreign(home) == {urlsplit(address).netloc}  # the page of two


def test_nothing_was_asked_of_another_host(visit: Visit) -> None:
    browser, address, _ = visit
    assert browser.foreign(address) == set()


def test_a_busy_page_says_so(visit: Visit, loaded: Loaded) -> None:
    browser, _, _ = visit
    model = Slow(loaded)
    with site_of(model, limits=Limits(waiting=1)) as site:
        path = site.upload(encode_png(noise(0))).json()[0]
        browser.open(site.address)
        try:
            browser.until(  # until two are at work and one waits
                lambda: site.join([given(path), WORDS[0], 0.5], "a").status_code == 503,
                "a full queue",
            )
            browser.all("#shelf .example")[0].click()
            assert "busy" in browser.toast()
        finally:
            model.may.set()
