"""Where the checkout and the real data beside it are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
HELPERS = Path(__file__).parent
REAL = ROOT.parent / "shared" / "realdata"  # absent in most checkouts
