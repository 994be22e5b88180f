"""Write docs/page.png: `unires demo` as it opens, or another example, in Chromium.

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
    """Open the page, click what is asked for, wait, and keep what is seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address")
    parser.add_argument("--example", type=int, default=0, help="from 0")
    parser.add_argument("--objects", action="store_true", help="instead of its parts")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1280, help="of the page")
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--out", default=str(OUT))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder)) as browser:
        browser.resize(args.width, args.height)
        theme = "dark" if args.dark else "light"
        shown = browser.open(f"{args.address}/?__theme={theme}")
        if args.example:
            browser.all("#shelf .example")[args.example].click()
            shown = browser.answered(shown)
        if args.objects:
            browser.one("#shelf [data-parts=false]").click()
            browser.answered(shown)
        time.sleep(1)  # until spinners have faded
        image = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
        image.convert("RGB").save(args.out, optimize=True)
        print(args.out)


if __name__ == "__main__":
    main()
