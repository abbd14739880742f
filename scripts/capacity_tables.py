"""Writes the tables of docs/capacity.md from recorded runs and from the calculation of `vdmini-serve capacity`.

python scripts/capacity_tables.py [--check]
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vdmini_serve.capacity import Line, Load, workers_for

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/capacity.md"
RUNS = ROOT / "benchmarks/results"
CLIPS, SVD = "2026-11-26-videocrafter2-clips.json", "2026-11-26-svd-switches.json"
SMALL, PRICE, SOAK, MP4 = (
    *("2026-11-26-small-overlap.json", "2026-11-26-service-price.json"),
    *("2026-11-26-service-soak.json", "2026-11-26-mp4.json"),
)
WAIT_SECONDS = 5.0
RATES = (1_000, 10_000, 100_000)
GPUS = (1, 10, 100, 1000)
BUSY = 0.7
"""Share of the time that the workers of the last table work."""
POLLS_PER_JOB = 2
WEEK, HOUR = 7 * 24 * 3600, 3600


def main(options: argparse.Namespace) -> int:
    """Write or compare; the exit code."""
    text = PAGE.read_text()
    new = text
    for name, rows in {"speed": speed(), "workers": workers(), "shared": shared()}.items():
        new = replaced(new, name, rows)
    if options.check:
        if new != text:
            sys.stderr.write(f"{PAGE.name} is not current; run scripts/capacity_tables.py\n")
        return int(new != text)
    PAGE.write_text(new)
    return 0


def replaced(page: str, name: str, rows: list[str]) -> str:
    """The page with other rows between two marks."""
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = page.partition(first)
    _, found, after = rest.partition(last)
    if not found:
        raise SystemExit(f"{PAGE} has no place for the table {name!r}")
    return before + first + "\n".join(rows) + "\n" + last + after


def clips() -> dict[str, float]:
    """Seconds of one clip of VideoCrafter2 on an H200, by contender."""
    found = _run(CLIPS)["contenders"]
    return {name: float(contender["seconds"]["total"]["median"]) for name, contender in found.items()}


def speed() -> list[str]:
    """What one worker makes in an hour."""
    text_to_video, svd = clips(), _run(SVD)
    plain = sum(svd["plain_seconds"].values())
    rows = [
        (
            "text to video, VideoCrafter2, 16 x 320 x 512, 4 steps",
            "H200",
            "plain diffusers",
            text_to_video["stock"],
            CLIPS,
        ),
        ("", "", "teacher, our engine", text_to_video["teacher"], CLIPS),
        ("", "", "VDMini with a small decoder", text_to_video["vdmini"], CLIPS),
        ("image to video, SVD, 14 x 576 x 1024, one pass", "H200", "plain diffusers", plain, SVD),
        ("", "", "teacher, our engine", plain / svd["switches"][0]["speedup"]["total"]["median"], SVD),
    ]
    for task, name in (("image", "small-i2v-vdmini"), ("text", "small-t2v-vdmini")):
        seconds = 1 / _run(SMALL)["models"][name]["jobs_per_second"]["after"]
        rows.append((f"{task} to video, small, 8 x 64 x 64", "2 CPU cores", "VDMini, MP4 included", seconds, SMALL))
    head = ["| clip | on | who | seconds | clips an hour, at most | |", "|---|---|---|---|---|---|"]
    return head + [
        f"| {clip} | {device} | {who} | {seconds:.3f} | {HOUR / seconds:,.0f} | [run](../benchmarks/results/{run}) |"
        for clip, device, who, seconds, run in rows
    ]


def workers() -> list[str]:
    """How many GPUs a load needs, compressed or not."""
    seconds = clips()
    names = {"teacher": "teacher", "vdmini": "VDMini"}
    head = "| clips in the busiest hour | " + " | ".join(f"{each}: GPUs | busy" for each in names.values()) + " |"
    rows = [head, "|---|" + "---|" * 2 * len(names)]
    for rate in RATES:
        cells = []
        for name in names:
            load = Load(rate, seconds[name])
            enough = workers_for(load, wait_seconds=WAIT_SECONDS, share=0.95)
            cells.append(f"{enough} | {Line(load, enough).utilisation:.0%}")
        rows.append(f"| {rate:,} | {' | '.join(cells)} |")
    return rows


def shared() -> list[str]:
    """What the parts that all workers share have to bear."""
    price, kept = _run(PRICE), _run(SOAK)["memory"]["redis"]["bytes_per_job"]
    seconds = clips()["vdmini"]
    clip_bytes = _clip_bytes()
    head = "| GPUs | jobs/s | Redis, cores | APIs, cores | Redis, memory: a week | an hour | clips, a day |"
    rows = [head, "|---|" + "---|" * 6]
    for gpus in GPUS:
        rate = gpus * BUSY / seconds
        redis = (
            rate * _per_job(price, "redis_core_seconds") + gpus * price["idle_worker_a_second"]["redis_core_seconds"]
        )
        api = rate * _per_job(price, "api_core_seconds")
        week, hour = (_size(rate * kept * age) for age in (WEEK, HOUR))
        day = _size(rate * clip_bytes * 24 * HOUR)
        rows.append(f"| {gpus:,} | {rate:,.1f} | {redis:.2f} | {api:.1f} | {week} | {hour} | {day} |")
    return rows


def _per_job(price: dict[str, Any], what: str) -> float:
    return float(price["a_job"][what]) + POLLS_PER_JOB * float(price["a_poll"][what])


def _clip_bytes() -> float:
    clip = next(each for each in _run(MP4)["clips"] if (each["frames"], each["width"]) == (16, 512))
    return next(float(row["bytes"]) for row in clip["choices"] if (row["preset"], row["threads"]) == ("veryfast", 4))


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def _run(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RUNS / name).read_text())
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    sys.exit(main(parser.parse_args()))
