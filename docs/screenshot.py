"""Write docs/page.png: `unires demo` after a click on an example, in Chromium.

    unires demo --port 7861 &             # or with --checkpoint
    python docs/screenshot.py http://127.0.0.1:7861

Needs chromium and its driver (Debian: apt-get install chromium chromium-driver).
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "serving"))

from browser import Browser

OUT = Path(__file__).parent / "page.png"


def main() -> None:
    """Open the page, click, wait, and keep what is seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address")
    parser.add_argument("--example", type=int, default=2)
    parser.add_argument("--out", default=str(OUT))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder)) as browser:
        browser.driver.set_window_size(1280, 1000)
        browser.open(args.address)
        if args.example >= 0:
            before = browser.key()
            browser.all("#examples button")[args.example].click()
            browser.answered(before)
        time.sleep(1)  # until spinners have faded
        browser.driver.save_screenshot(args.out)
        print(args.out, browser.foreign(args.address))


if __name__ == "__main__":
    main()
