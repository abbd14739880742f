"""`make demo`: compress both small teachers, serve teacher and student, lay what comes out side by side in demo/."""

import io
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table
from skimage import data

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "demo"
BIN = Path(sys.executable).parent
TASKS = {"i2v": "small-i2v", "t2v": "small-t2v"}
PROMPT = "a yellow circle moving up right quickly on a black background"
MOTION_BUCKET_ID = 255
REQUESTS = 5
STAGES = ("encode", "denoise", "decode", "mp4")
console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Run the whole line; stop with the failed command's own message when a part fails."""
    started = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    photo = OUT / "photo.png"
    Image.fromarray(data.chelsea()).save(photo)
    for name in TASKS.values():
        compress(name)
    folders = [ROOT / "compression/teachers" / n for n in TASKS.values()] + [
        OUT / "artifacts" / n for n in TASKS.values()
    ]
    with service(folders) as url:
        jobs = {task: ask_both(url, task, photo) for task in TASKS}
    contact_sheet(OUT / "contact-sheet.png")
    summary = summarise(jobs)
    summary["seconds"] = round(time.monotonic() - started, 1)
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    show(summary)


def compress(name: str) -> None:
    """Make one student with the job's own command."""
    console.rule(f"compress {name}")
    recipe = ROOT / "compression/recipes" / f"{name}.yaml"
    command = [BIN / "vdmini-compress", "run", recipe, "--output", OUT / "artifacts" / name]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"the job for {name} failed; its message is above")


@contextmanager
def service(folders: list[Path]) -> Iterator[str]:
    """Serve these artifacts on a free port until the block ends."""
    console.rule("serve teachers and students")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    artifacts = [word for folder in folders for word in ("--artifact", str(folder))]
    quiet = {**os.environ, "VDMINI_LOG_LEVEL": "warning"}
    process = subprocess.Popen([BIN / "vdmini-serve", "up", "--port", str(port), *artifacts], env=quiet)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait for the service's own word that it can take jobs."""
    for _ in range(1200):
        if process.poll() is not None:
            sys.exit("the service did not start; its message is above")
        try:
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    sys.exit("the service was not ready within five minutes")


def ask_both(url: str, task: str, photo: Path) -> dict[str, list[dict[str, Any]]]:
    """Send the same request to teacher and student in turn; keep the first MP4 and every job's record."""
    jobs: dict[str, list[dict[str, Any]]] = {"teacher": [], "vdmini": []}
    for number in range(REQUESTS):
        for variant, records in jobs.items():
            answer = ask(url, task, photo, variant)
            if number == 0:
                (OUT / f"{task}-{variant}.mp4").write_bytes(answer.content)
            record = httpx.get(f"{url}/v1/jobs/{answer.headers['x-vdmini-job']}", timeout=30)
            records.append(record.raise_for_status().json())
    return jobs


def ask(url: str, task: str, photo: Path, variant: str) -> httpx.Response:
    """One request, as any client would send it."""
    fields: dict[str, Any] = {"variant": variant, "seed": 7}
    if task == "t2v":
        sent = httpx.post(f"{url}/v1/t2v", json={**fields, "prompt": PROMPT}, timeout=300)
    else:
        upload = {"image": ("photo.png", photo.read_bytes(), "image/png")}
        form = {**fields, "motion_bucket_id": MOTION_BUCKET_ID}
        sent = httpx.post(f"{url}/v1/i2v", data=form, files=upload, timeout=300)
    if sent.status_code != 200:
        sys.exit(f"{task} {variant}: {sent.status_code} {sent.text}")
    return sent


def frames_of(path: Path) -> list[Image.Image]:
    """The frames of an MP4."""
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return [Image.fromarray(np.frombuffer(frame, np.uint8).reshape(height, width, 3)) for frame in reader]


def contact_sheet(path: Path) -> None:
    """All frames of all four clips on one picture, enlarged, a row a clip."""
    edge, margin = 128, 190
    rows = [
        (f"{task} {variant}", frames_of(OUT / f"{task}-{variant}.mp4"))
        for task in TASKS
        for variant in ("teacher", "vdmini")
    ]
    sheet = Image.new("RGB", (margin + edge * len(rows[0][1]), edge * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=20)
    for row, (label, frames) in enumerate(rows):
        pen.text((10, row * edge + edge // 2 - 12), label, fill="black", font=font)
        for column, frame in enumerate(frames):
            sheet.paste(frame.resize((edge, edge), Image.Resampling.NEAREST), (margin + column * edge, row * edge))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def summarise(jobs: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Median stage times as served, and what the artifacts say of themselves."""
    summary: dict[str, Any] = {"prompt": PROMPT, "photo": "scikit-image's chelsea, never seen in training"}
    for task, name in TASKS.items():
        served = {variant: medians(records) for variant, records in jobs[task].items()}
        teacher = json.loads((ROOT / "compression/teachers" / name / "vdmini.json").read_text())
        student = json.loads((OUT / "artifacts" / name / "vdmini.json").read_text())
        engine = {variant: sum(row[stage] for stage in STAGES[:3]) for variant, row in served.items()}
        summary[task] = {
            "served_seconds": served,
            "served_speedup": round(engine["teacher"] / engine["vdmini"], 3),
            "measured": student["latency"][0],
            "cost": {"teacher": teacher["cost"], "vdmini": student["cost"]},
            "quality": student["quality"],
        }
    return summary


def medians(records: list[dict[str, Any]]) -> dict[str, float]:
    """Median seconds of each stage over several jobs."""
    return {stage: round(statistics.median(r["timings"][stage] for r in records), 4) for stage in STAGES}


def show(summary: dict[str, Any]) -> None:
    """Print the table and what to look at."""
    for task in TASKS:
        console.print(table_of(task, summary[task]))
    console.print(f"made in {summary['seconds']:.0f} s. Look at")
    for name in ("contact-sheet.png", "i2v-teacher.mp4", "i2v-vdmini.mp4", "t2v-teacher.mp4", "t2v-vdmini.mp4"):
        console.print(f"  demo/{name}")
    console.print("  demo/artifacts/small-i2v/report.html")
    console.print("Try next: .venv/bin/vdmini-serve up, then open http://127.0.0.1:8000, or in another terminal")
    console.print(
        '  .venv/bin/vdmini-serve generate --prompt "a red square moving left slowly on a white background" -o out.mp4'
    )


def table_of(task: str, part: dict[str, Any]) -> Table:
    """Teacher beside student: time as served, size, quality."""
    table = Table(title=f"{task}: one request as served, {part['measured']['device']}")
    table.add_column("")
    for variant in ("teacher", "vdmini"):
        table.add_column(variant, justify="right")

    def row(label: str, values: list[str]) -> None:
        table.add_row(label, *values)

    served, cost, quality = part["served_seconds"], part["cost"], part["quality"]
    for stage in STAGES:
        row(f"{stage} (ms)", [f"{1000 * served[v][stage]:.1f}" for v in served])
    low, high = part["measured"]["speedup_interval"]
    row("speed-up, these requests", ["1.00", f"{part['served_speedup']:.2f}"])
    row("speed-up, measured by the job", ["1.00", f"{part['measured']['speedup']:.2f} ({low:.2f} to {high:.2f})"])
    row("U-Net parameters (M)", [f"{cost[v]['unet_parameters'] / 1e6:.2f}" for v in cost])
    row("weights (MB)", [f"{cost[v]['total_bytes'] / 1e6:.1f}" for v in cost])
    for measure in quality["teacher"]:
        row(measure, [f"{quality[v][measure]:.3f}" for v in ("teacher", "vdmini")])
    return table


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
