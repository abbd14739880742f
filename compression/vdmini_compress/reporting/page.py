"""`report.html`: one self-contained page that shows what was removed, what it costs and what it looks like."""

import base64
import html
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vdmini.engine import STAGES, Engine
from vdmini.manifest import Latency, Manifest
from vdmini.video import enlarged, write_mp4
from vdmini_compress import importance_plot
from vdmini_compress.evaluate import settings_of
from vdmini_compress.importance import ImportanceReport
from vdmini_compress.reporting import curves, unet_drawing

MEASURES = {
    "colour_accuracy": "captions whose colour is right, 0 to 1 (higher is better)",
    "shape_accuracy": "captions whose shape is right, 0 to 1 (higher is better)",
    "direction_accuracy": "captions whose direction is right, 0 to 1 (higher is better)",
    "trajectory_error_px": "motion: distance to the right path, pixels (lower is better)",
    "appearance_error": "content: difference of the sprite's pixels, 0 to 1 (lower is better)",
    "background_error": "content: difference of the background's pixels, 0 to 1 (lower is better)",
    "clip_psnr_db": "clip PSNR, dB (higher is better)",
    "repeat_psnr_db": "clip PSNR of the first frame repeated, dB (to compare)",
    "psnr_gain_db": "gain over repeating the first frame, dB (higher is better)",
    "camera_psnr_db": "camera clips: PSNR, dB (higher is better)",
    "frame_distance": "content: Fréchet distance of frames to real ones, latent units squared (lower is better)",
    "motion_distance": "motion: Fréchet distance of motion statistics to real clips' (lower is better)",
    "camera_repeat_psnr_db": "camera clips: PSNR of the first frame repeated, dB (to compare)",
}
COLOURS = {"encode": "#94a3b8", "denoise": "#2563eb", "decode": "#f59e0b"}
SHORT = 0.12
"""A stage that takes a smaller share of the longest clip has no room for its name in the bar."""
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1e293b}
h1{margin-bottom:0}h2{margin-top:2rem}table{border-collapse:collapse}td,th{padding:.3rem .9rem;text-align:right}
td:first-child,th:first-child{text-align:left}tr+tr{border-top:1px solid #e2e8f0}
.clips{display:flex;gap:1.5rem;flex-wrap:wrap}figure{margin:0}video{width:256px;background:#000}
.bar{display:flex;height:1.6rem;margin:.2rem 0 .8rem}.bar span{box-sizing:border-box;color:#fff;font-size:.75rem;padding:.2rem .3rem;overflow:hidden}
svg{display:block;margin:.8rem 0;max-width:100%;height:auto}code{background:#f1f5f9;padding:0 .2rem}
"""


Shown = dict[str, NDArray[np.uint8]]
"""Clips of one input: variant -> frames, uint8 [F, H, W, 3]."""


def showcase(teacher: Engine, student: Engine, conditions: dict[str, Any]) -> Shown:
    """Both models' clips of one held-out input."""
    return {
        name: engine.generate(**settings_of(engine, **conditions)).frames
        for name, engine in (("teacher", teacher), ("vdmini", student))
    }


@dataclass(frozen=True)
class Making:
    """How a student came to be, for its report.

    Args:
        unet_config: the teacher's U-Net.
        log: rows of the training's log, see `curves.read_log`.
        importance: what was measured of the teacher's blocks, if it was.
    """

    unet_config: Mapping[str, Any]
    log: list[dict[str, float]]
    importance: ImportanceReport | None = None


def write(path: Path, manifest: Manifest, teacher: Manifest, shown: Shown, making: Making) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        manifest: the student's, complete but for its hashes.
        teacher: the teacher's.
        shown: clips of one input, see `showcase`.
        making: how it was made.
    """
    sections = (
        ("The same input, both models", f'<div class="clips">{_clips(shown, manifest.defaults.fps)}</div>'),
        ("Latency by stage", _bars(manifest.latency[0])),
        ("Quality on held-out clips", _quality(manifest.quality)),
        ("Size", _sizes(manifest, teacher)),
        ("What was removed", _removed(manifest, making)),
        ("What each block is worth", _importance(making)),
        ("How it was healed", _healing(manifest, making)),
    )
    body = _opening(manifest) + "".join(f"<h2>{title}</h2>{content}" for title, content in sections if content)
    title = html.escape(manifest.name)
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>{body}</html>'
    )


def _opening(manifest: Manifest) -> str:
    timing = manifest.latency[0]
    low, high = timing.speedup_interval
    return f"""<h1>{html.escape(manifest.name)}</h1>
<p>A {html.escape(manifest.family)} model ({manifest.task}) with {len(manifest.removed_blocks)} blocks removed, healed by
distillation from <code>{html.escape(manifest.teacher.id)}</code>. It is <b>{timing.speedup:.2f} times</b> as fast as the
teacher (95 % interval {low:.2f} to {high:.2f}, {timing.runs} runs in turn on {html.escape(timing.device)},
{timing.dtype}).</p>"""


def _removed(manifest: Manifest, making: Making) -> str:
    names = ", ".join(f"<code>{html.escape(name)}</code>" for name in manifest.removed_blocks) or "nothing"
    return f"""{unet_drawing.draw(making.unet_config, manifest.removed_blocks)}
<p>A U-Net works on a small picture in its deep stages (below) and on a large one in its shallow stages (above), where a
block costs most time. A pair is a ResBlock with the attention after it. Grey blocks are gone: {names}.</p>"""


def _importance(making: Making) -> str:
    if making.importance is None:
        return ""
    return f"""{importance_plot.as_svg(making.importance)}
<p>Each mark is the teacher with one block switched off and nothing healed. What lies low and far right costs time and is
hardly missed.</p>"""


def _healing(manifest: Manifest, making: Making) -> str:
    seconds, wanted = manifest.training.get("distill_seconds", 0.0), manifest.recipe.get("distill", {})
    words = f"<p>{wanted.get('steps', 0)} steps, {seconds / 60:.1f} minutes of training"
    clips = manifest.recipe.get("data", {}).get("clips")
    words += (
        f", {clips} clips to learn from. The whole recipe is in <code>vdmini.json</code>.</p>" if clips else ".</p>"
    )
    return words + curves.draw(making.log)


def _clips(shown: Shown, fps: int) -> str:
    return "".join(
        f"<figure><video autoplay loop muted playsinline src='{_video_uri(frames, fps)}'></video>"
        f"<figcaption>{name}</figcaption></figure>"
        for name, frames in shown.items()
    )


def _video_uri(frames_FHW3: NDArray[np.uint8], fps: int) -> str:
    large = enlarged(frames_FHW3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_mp4(large, path, fps=fps)
        return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()


def _bars(timing: Latency) -> str:
    longest = max(row["total"] for row in timing.seconds.values())
    rows = []
    for name, seconds in timing.seconds.items():
        told = {stage: f"{stage} {1000 * seconds[stage]:.0f} ms" for stage in STAGES}
        spans = "".join(
            f'<span style="width:{100 * seconds[stage] / longest:.1f}%;background:{COLOURS[stage]}" '
            f'title="{told[stage]}">{stage if seconds[stage] > SHORT * longest else ""}</span>'
            for stage in STAGES
        )
        whole = f"{name}: {1000 * seconds['total']:.0f} ms ({', '.join(told.values())})"
        rows.append(f"<div>{whole}</div><div class='bar'>{spans}</div>")
    return "".join(rows)


def _sizes(student: Manifest, teacher: Manifest) -> str:
    rows = [
        ("U-Net parameters", teacher.cost.unet_parameters / 1e6, student.cost.unet_parameters / 1e6, "M"),
        ("U-Net GFLOP per forward", teacher.cost.unet_flops / 1e9, student.cost.unet_flops / 1e9, ""),
        (
            "VAE decoder parameters",
            teacher.cost.vae_decoder_parameters / 1e6,
            student.cost.vae_decoder_parameters / 1e6,
            "M",
        ),
        ("all weights", teacher.cost.total_bytes / 1e6, student.cost.total_bytes / 1e6, "MB"),
    ]
    cells = "".join(f"<tr><td>{n}</td><td>{a:.2f} {u}</td><td>{b:.2f} {u}</td></tr>" for n, a, b, u in rows)
    return f"<table><tr><th></th><th>teacher</th><th>vdmini</th></tr>{cells}</table>"


def _quality(quality: dict[str, dict[str, float]]) -> str:
    cells = "".join(
        f"<tr><td>{MEASURES.get(m, m)}</td><td>{quality['teacher'][m]:.3f}</td><td>{quality['vdmini'][m]:.3f}</td></tr>"
        for m in quality["teacher"]
    )
    return f"<table><tr><th></th><th>teacher</th><th>vdmini</th></tr>{cells}</table>"
