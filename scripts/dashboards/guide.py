"""docs/dashboards.md: how to read each dashboard, panel by panel, from what the panels say of themselves."""

from collections.abc import Sequence

from board import Board
from panels import Ask

HEAD = """# Reading the dashboards

`docker compose up` starts Grafana with four dashboards in its folder VDMini; each links to the others on top, keeping time
and filters. Blue is the compressed model and orange the uncompressed one, everywhere. Every panel is a question, and
the (i) beside it says what is shown, what a good answer looks like and what to do otherwise. This page is the same to
read in one go.

## What is compared with what

| name | from | to | whose |
|---|---|---|---|
| engine seconds | encode | decode | the model alone: speed-ups and the baseline are made of these |
| a job's seconds | a worker's start | the finished MP4 | what clients are served: engine seconds, the check of the clip, the MP4 |
| a wait | acceptance | a worker's start | the queue: the same for both models |

- **Baseline**: the median of the uncompressed model's engine seconds (50 runs at most) for the same task, size, steps and
  guidance on the same device. A worker measures it when it starts, and keeps it fresh while it idles.
- **Speed-up**: the baseline over the compressed model's median engine seconds. Above 1, compression pays.
- **Receipt**: the speed-up that was measured when the model was made, in its `vdmini.json`.
- A job's seconds beside the baseline are to the compressed model's disadvantage: the baseline is without the MP4.

## A first look, in five steps

1. Open *Latency against the uncompressed baseline*. The first row answers how fast we are, and against what: the big
   number is the speed-up, the bars are the seconds behind it. Red means slower than without compression.
2. Is the promise kept? Below 80 % it is red. Then compare the devices in the table further down: a receipt holds for its own.
3. Choose a task, then a size: lines of several sizes in one picture are hard to tell apart.
4. Is a client's clip slow though the model is fast? Then it waited: *Queue and workers*.
5. Fast, and still good? *Quality drift* compares clips of the two models; *Errors and limits* says what fails and what is refused.

An empty panel says why it is empty. On a laptop, send two or three jobs and wait for two scrapes (half a minute); for a quiet
service choose a longer time, top right. Times up to a month work: sums and quantiles are taken over what is shown.
"""


def page(boards: Sequence[Board]) -> str:
    """The whole page."""
    return HEAD + "".join(_board(board) for board in boards)


def _board(board: Board) -> str:
    filters = ", ".join(f"{variable.label.lower()}" for variable in board.variables)
    parts = [f"\n## {board.title}\n\n{board.description} Filters: {filters}.\n"]
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
