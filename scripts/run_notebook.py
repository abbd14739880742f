"""Run docs/open-in-diffusers.ipynb from top to bottom and keep what it shows.

python scripts/run_notebook.py [--check]
"""

import argparse
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "open-in-diffusers.ipynb"
CELL_SECONDS = 240


def run(notebook: NotebookNode) -> NotebookNode:
    """Execute a copy of a notebook in its folder; no times and versions are written into it."""
    made = nbformat.from_dict(notebook)
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    waits = {"timeout": CELL_SECONDS, "startup_timeout": CELL_SECONDS}
    NotebookClient(made, record_timing=False, resources=where, **waits).execute()
    made.metadata = notebook.metadata
    return made


def shapes(notebook: NotebookNode) -> list[list[str]]:
    """What each cell shows, by its kind; warnings of libraries are not counted."""
    outputs = ([o for o in cell.get("outputs", []) if o.get("name") != "stderr"] for cell in notebook.cells)
    return [[" ".join(sorted(o.get("data", {o.get("name", ""): 0}))) for o in each] for each in outputs]


def main() -> int:
    """Run it, and write it or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it runs and shows what it showed")
    check = parser.parse_args().check
    kept = nbformat.read(NOTEBOOK, as_version=4)
    made = run(kept)
    if check:
        if (found := shapes(made)) != (told := shapes(kept)):
            print(f"cells show {found}, and showed {told}; run this without --check")
        return int(found != told)
    nbformat.write(made, NOTEBOOK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
