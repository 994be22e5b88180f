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

    def open(self, address: str) -> None:
        """Load the page and wait for its last component."""
        self.driver.get(address)
        self.until(lambda: self.all("#threshold input[type=range]"), "the page")

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
        raise AssertionError(f"not within {PATIENCE} s: {what}")

    def upload(self, path: Path) -> None:
        """Choose a file as the picture, in place of one that is there."""
        for clear in self.all("#picture button[aria-label='Clear']"):
            clear.click()
        self.one("#picture input[type=file]").send_keys(str(path))

    def type(self, text: str) -> None:
        """Put the sentences."""
        box = self.one("#sentences textarea")
        box.clear()
        box.send_keys(text)

    def key(self) -> str:
        """Which answers show, with which threshold; "" for none."""
        overlays = self.all("#answers img.overlay")
        return str(overlays[0].get_attribute("src")) if overlays else ""

    def answered(self, before: str) -> str:
        """Wait for answers other than those before, and for their picture."""

        def loaded() -> str:
            source = self.key()
            whole = "return arguments[0].complete && arguments[0].naturalWidth > 0"
            if source in ("", before):
                return ""
            image = self.all("#answers img.overlay")[0]
            return source if self.driver.execute_script(whole, image) else ""

        return str(self.until(loaded, "new answers"))

    def toast(self) -> str:
        """The message that the page shows, waited for."""
        messages = self.until(
            lambda: [t for x in self.all(".toast-body") if (t := x.text)], "a message"
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
