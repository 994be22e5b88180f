"""axe-core at the page that a browser shows, where a package brings it (MPL-2.0)."""

import importlib.util
from pathlib import Path
from typing import Any

from helpers.browser import Browser

PACKAGES = ("axe_playwright_python", "axe_core_python")
GRAVE = ("critical", "serious")
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then((x) => done(x.violations));
"""


def _source() -> str:
    """axe.min.js of an installed package, "" without one; nothing is imported."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        for folder in (spec and spec.submodule_search_locations) or ():
            if (file := Path(folder) / "axe.min.js").is_file():
                return file.read_text()
    return ""


SOURCE = _source()


# What fades in is pale for a while.
STILL = "return document.getAnimations().every(x => x.playState != 'running')"


def findings(browser: Browser) -> list[str]:
    """The critical and serious findings, one line for each element."""
    browser.until(lambda: browser.driver.execute_script(STILL), "a page at rest")
    browser.driver.execute_script(SOURCE)
    violations: list[dict[str, Any]] = browser.driver.execute_async_script(RUN)
    return [
        f"{violation['impact']} {violation['id']}: {node['html'][:200]}"
        for violation in violations
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]
