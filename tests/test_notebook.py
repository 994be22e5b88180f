"""The notebook of the documentation runs from top to bottom."""

from pathlib import Path

import nbclient
import nbformat
from helpers.paths import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"


def test_it_runs_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(TOUR, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 1
    assert not list(tmp_path.iterdir())
