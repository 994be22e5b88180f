"""Options that several commands of the engine have. Source: ours."""

import argparse
from pathlib import Path


def add_out(parser: argparse.ArgumentParser) -> None:
    """`--out`, the folder of the engine."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("engine"),
        help="folder of the engine; default: engine",
    )


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """`--pictures`, for a folder of pictures that was moved since they were planned."""
    parser.add_argument(
        "--pictures", default="", help="folder of the pictures; default: the plan's"
    )
