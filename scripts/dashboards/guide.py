"""docs/dashboards.md: `guide.md`, then each dashboard panel by panel, from what the panels say of themselves."""

from collections.abc import Sequence
from pathlib import Path

from board import Board
from panels import Ask

HEAD = Path(__file__).with_name("guide.md")


def page(boards: Sequence[Board]) -> str:
    """The whole page."""
    return HEAD.read_text(encoding="utf-8") + "".join(_board(board) for board in boards)


def _board(board: Board) -> str:
    filters = ", ".join(f"{variable.label.lower()}" for variable in board.variables)
    parts = [f"\n## {board.title}\n\n{board.description} Filters: {filters}.\n"]
    if board.uid != "vdmini-latency":  # that one is on top of the page
        parts.append(f"\n![{board.title}]({board.uid.replace('vdmini', 'dashboard')}.png)\n")
    for section in board.sections:
        parts.append(f"\n### {section.title}\n")
        parts += [_panel(panel.ask) for panel in section.panels]
    return "".join(parts)


def _panel(ask: Ask) -> str:
    title = ask.title.replace("$task ", "")
    lines = [f"\n**{title}** {ask.shows}\n", f"- Good: {ask.good}", f"- Otherwise: {ask.otherwise}"]
    if ask.runbooks:
        lines.append("- Runbook: " + ", ".join(f"[{name}](runbooks.md#{name.lower()})" for name in ask.runbooks))
    return "\n".join(lines) + "\n"
