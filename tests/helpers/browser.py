"""A real headless Chromium at the page, and what a person does there."""

import json
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--disable-dev-shm-usage"),
    "--window-size=1280,1100",
)
PATIENCE = 60  # seconds until something must have happened
DRAWN = """
const sheet = document.querySelector("#answers .sheet");
const whole = (image) => image.complete && image.naturalWidth > 0;
return sheet && !sheet.matches(".loading")
  && [...sheet.querySelectorAll("img")].every(whole);
"""
STATE = """
const all = (css, of) => [...document.querySelectorAll(css)].map(of);
return {
  sentences: all("#sentences textarea", (x) => x.value.slice(0, 60)),
  answers: all(".answers", (x) => x.dataset.key + " " + x.dataset.threshold),
  sheets: all("#answers .sheet", (x) => x.className),
  images: all("#answers .sheet img", (x) => [x.src.slice(-50), x.naturalWidth]),
  progress: all(".progress-text", (x) => x.textContent),
  messages: all(".toast-body, .picker .alert", (x) => x.textContent),
};
"""
FREE = """
const box = arguments[0].getBoundingClientRect();
const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
return document.elementFromPoint(x, y) === arguments[0];
"""
WITHIN = """
const box = arguments[0].getBoundingClientRect();
return box.height > 0 && box.top >= 0 && box.left >= 0
  && box.bottom <= innerHeight && box.right <= innerWidth;
"""


def missing() -> str:
    """Why there is no browser here; "" if there is one."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    if not (CHROMIUM and DRIVER):
        return "no chromium and chromedriver (apt-get install chromium chromium-driver)"
    return ""


class Browser:
    """Chromium with an empty profile below `folder`; downloads go there too."""

    def __init__(self, folder: Path):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(self.downloads)}
        )
        service = webdriver.ChromeService(executable_path=DRIVER)
        self.driver = webdriver.Chrome(options=options, service=service)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.driver.quit()

    def open(self, address: str) -> str:
        """Load the page, and wait for the answers it opens with: which ones."""
        self.driver.get(address)
        return self.answered("")

    def resize(self, width: int, height: int) -> None:
        """Give the page this much room, CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", metrics | {"mobile": False}
        )

    def sees(self, element: Any) -> bool:
        """Whether all of an element is within the window."""
        return bool(self.driver.execute_script(WITHIN, element))

    def is_free(self, element: Any) -> bool:
        """Whether nothing lies over the middle of an element."""
        return bool(self.driver.execute_script(FREE, element))

    def hover(self, element: Any) -> None:
        """Put the mouse over an element."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).move_to_element(element).perform()

    def all(self, css: str) -> list[Any]:
        """The elements of a CSS selector."""
        return self.driver.find_elements("css selector", css)

    def one(self, css: str) -> Any:
        """The first element of a selector, waited for."""
        return self.until(lambda: self.all(css), css)[0]

    def until(self, happens: Any, what: str) -> Any:
        """What `happens()` returns once it is true."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if result := happens():
                    return result
            except StaleElementReferenceException:
                pass
            time.sleep(0.05)
        state = self.driver.execute_script(STATE)
        raise AssertionError(f"not within {PATIENCE} s: {what}; the page: {state}")

    def upload(self, path: Path) -> None:
        """Choose a file as the picture."""
        self.one("#picker input[type=file]").send_keys(str(path))

    def type(self, text: str) -> None:
        """Put the sentences."""
        box = self.one("#sentences textarea")
        box.clear()
        box.send_keys(text)

    def key(self) -> str:
        """Which answers show, with which threshold; "" for no picture."""
        shown = self.one(".answers")
        key, at = (shown.get_attribute(f"data-{x}") for x in ("key", "threshold"))
        return f"{key} {at}" if key else ""

    def answered(self, before: str) -> str:
        """Wait for answers, or a picture, other than before, and for their drawing."""

        def drawn() -> str:
            key = self.key()
            return key if key != before and self.driver.execute_script(DRAWN) else ""

        return str(self.until(drawn, "new answers"))

    def masks(self) -> list[int]:
        """The numbers of the answers whose masks show."""
        shown = self.all("#answers .mask:not(.off)")
        return [int(x.get_attribute("data-row")) for x in shown]

    def toast(self) -> str:
        """The message that the page shows, waited for."""
        messages = self.until(
            lambda: [
                t for x in self.all(".toast-body, .picker .alert") if (t := x.text)
            ],
            "a message",
        )
        return str(messages[-1])

    def foreign(self, address: str) -> set[str]:
        """Hosts besides the page's own that were asked for anything."""
        home, hosts = urlsplit(address).netloc, set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = urlsplit(message["params"]["request"]["url"])
                if url.scheme in ("http", "https", "ws", "wss") and url.netloc != home:
                    hosts.add(url.netloc)
        return hosts
