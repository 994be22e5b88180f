"""Write docs/page.png: `unires demo` after a click on an example, in Chromium.

    unires demo --port 7861 &             # or with --checkpoint
    PYTHONPATH=tests python docs/screenshot.py http://127.0.0.1:7861

Needs chromium and its driver (Debian: apt-get install chromium chromium-driver).
"""

import argparse
import io
import tempfile
import time
from pathlib import Path

from helpers.browser import Browser
from PIL import Image

OUT = Path(__file__).parent / "page.png"


def main() -> None:
    """Open the page, click, wait, and keep what is seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address")
    parser.add_argument("--example", type=int, default=2, help="-1: the empty page")
    parser.add_argument("--objects", action="store_true", help="instead of its parts")
    parser.add_argument("--height", type=int, default=1180, help="of the window")
    parser.add_argument("--out", default=str(OUT))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder)) as browser:
        browser.driver.set_window_size(1280, args.height)
        browser.open(args.address)
        if args.example >= 0:
            before = browser.key()
            browser.all("#level input")[not args.objects].click()
            browser.all("#examples button")[args.example].click()
            browser.answered(before)
        time.sleep(1)  # until spinners have faded
        image = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
        image.convert("RGB").save(args.out, optimize=True)
        print(args.out)


if __name__ == "__main__":
    main()
