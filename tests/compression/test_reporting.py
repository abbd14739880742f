"""What a report shows: the U-Net with its removed blocks, and the curves of the training."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

from vdmini.plan import PruningPlan
from vdmini_compress.reporting import curves, unet_drawing
from vdmini_compress.tracking import Tracker


def test_the_drawing_shows_every_block_once_and_marks_the_removed(root: Path) -> None:
    config = json.loads((root / "compression/teachers/small-i2v/unet/config.json").read_text())
    plan = PruningPlan.preset("paper", config)
    picture = ET.fromstring(unet_drawing.draw(config, plan.removed))
    titles = [element.text or "" for element in picture.iter() if element.tag.endswith("title")]
    names = [title.removesuffix(": removed") for title in titles]
    assert len(names) == len(set(names)) == 8 + 12 + 1 + 3 + 3
    gone = {title.removesuffix(": removed") for title in titles if title.endswith(": removed")}
    assert gone == {name for name in names if plan.removes(name)}
    assert {"mid_block", "down_blocks.0.resnets.1", "up_blocks.0.resnets.2"} <= gone


def test_the_log_is_read_back_and_drawn_a_panel_per_number(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    for step in (10, 20, 20, 30):
        tracker.add(step, {"seconds": step / 10, "task": 1 / step, "sample_motion": 0.5})
    tracker.close()
    rows = curves.read_log(tmp_path / "log.jsonl")
    assert [row["step"] for row in rows] == [10, 20, 30]
    picture = curves.draw(rows)
    assert picture.startswith("<svg")
    assert picture.count("axes_") >= 2
    assert curves.draw(rows[:1]) == ""
    assert curves.read_log(tmp_path / "nowhere.jsonl") == []


def test_the_log_goes_to_tensorboard_too(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = Tracker(tmp_path)
    tracker.add(3, {"task": 0.25})
    tracker.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (scalar,) = events.Scalars("task")
    assert (scalar.step, scalar.value) == (3, 0.25)
