"""Write Grafana's dashboards (docker/grafana/dashboards) and their guide (docs/dashboards.md) from one source.

python scripts/dashboards/write.py [--check]
"""

import argparse
import json
import sys
from pathlib import Path

import faults
import latency
import quality
import work
from board import Board
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from guide import page

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker" / "grafana" / "dashboards"
GUIDE = ROOT / "docs" / "dashboards.md"
BOARDS = (latency.board, work.board, quality.board, faults.board)


def files() -> dict[Path, str]:
    """What every generated file must hold."""
    boards = [make() for make in BOARDS]
    found = {FOLDER / f"{board.uid}.json": _text(board) for board in boards}
    return found | {GUIDE: page(boards)}


def _text(board: Board) -> str:
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    """Write them, or compare with them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which files are not what they should be")
    check = parser.parse_args().check
    wanted = files()
    wrong = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    stray = sorted({*FOLDER.glob("*.json")} - {*wanted})
    if check:
        for path in (*wrong, *stray):
            print(
                f"{path.relative_to(ROOT)} is not what scripts/dashboards makes: run python scripts/dashboards/write.py"
            )
        return 1 if wrong or stray else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in wrong:
        path.write_text(wanted[path], encoding="utf-8")
    for path in stray:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
