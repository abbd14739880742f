"""A bench compares a pair in one process, refuses strangers, and says what switches and sizes cost."""

import json
from pathlib import Path

import pytest
import torch

from vdmini.engine import load_engine
from vdmini_compress.bench.contenders import STUDENT_UNET, Contender, contenders, flops_of
from vdmini_compress.bench.matmul import matmul_rate
from vdmini_compress.bench.measure import _passes, measure
from vdmini_compress.bench.memory import peak_bytes
from vdmini_compress.bench.scaling import points
from vdmini_compress.cli import main
from vdmini_compress.material import sample_input

ARTIFACTS = Path("compression/artifacts")


def test_bench_compares_diffusers_teacher_and_student_with_either_decoder(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("measure", "command"):
        monkeypatch.setattr(f"vdmini_compress.bench.{place}.LEAST_RUNS", 2)  # it is 20 for a reason, but not a test's
    monkeypatch.setattr("vdmini_compress.bench.measure.WARM_UP", 1)
    student, teacher = root / ARTIFACTS / "small-i2v", root / "compression/teachers/small-i2v"
    command = ["bench", str(student), "--teacher", str(teacher), "--output", str(tmp_path), "--json"]
    command += ["--runs", "2"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "bench.json").read_text())
    found = report["contenders"]
    assert list(found) == ["stock", "teacher", "vdmini", STUDENT_UNET]
    for one in found.values():
        assert one["seconds"]["total"]["median"] > 0
        assert 0 < one["matmul_share"]["denoise + decode"] < 1.5
    assert found["teacher"]["likeness_db"] > 60
    assert found["vdmini"]["flops"]["decode"] < found["teacher"]["flops"]["decode"]
    assert found[STUDENT_UNET]["flops"]["decode"] == found["teacher"]["flops"]["decode"]
    assert found["vdmini"]["against"]["teacher"]["median"] > 1
    assert found["stock"]["against"]["stock"]["interval"] == [1.0, 1.0]
    assert (tmp_path / "bench.png").read_bytes()[:4] == b"\x89PNG"


def test_bench_refuses_a_student_of_another_teacher(root: Path, tmp_path: Path) -> None:
    from vdmini.switches import PLAIN

    with pytest.raises(ValueError, match="was made from small-i2v, not from small-t2v"):
        contenders(root / "compression/teachers/small-t2v", root / ARTIFACTS / "small-i2v", PLAIN)
    with pytest.raises(ValueError, match="is a vdmini and"):
        contenders(root / ARTIFACTS / "small-i2v", root / ARTIFACTS / "small-i2v", PLAIN)


def test_too_few_runs_give_no_ratio() -> None:
    with pytest.raises(ValueError, match="3 runs are too few"):
        measure([], {}, runs=3, rate=1.0, say=print)


def test_peak_memory_sees_a_tensor_that_is_gone_again() -> None:
    def run() -> None:
        torch.ones(2**24, dtype=torch.float32).sum()

    found = peak_bytes(run, torch.device("cpu"))
    assert found is None or 0.9 * 2**26 < found < 2 * 2**26


def test_a_matrix_product_is_faster_than_a_million_operations_a_second() -> None:
    assert matmul_rate(torch.device("cpu"), torch.float32) > 1e9


def test_operations_grow_with_frames(root: Path) -> None:
    engine = load_engine(root / "compression/teachers/small-t2v", device="cpu")
    own, more = flops_of(engine), flops_of(engine, num_frames=16)
    assert more["decode"] == 2 * own["decode"]
    assert more["denoise"] > 2 * own["denoise"]
    assert own["denoise"] == engine.manifest.cost.unet_flops


def test_a_pass_is_counted_for_every_step(root: Path) -> None:
    engine = load_engine(root / "compression/teachers/small-t2v", device="cpu")
    rival = Contender("teacher", engine, flops_of(engine))
    assert _passes(rival, sample_input(engine)) == engine.manifest.defaults.num_inference_steps


def test_scaling_measures_every_axis(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vdmini_compress.bench import scaling

    monkeypatch.setattr(scaling, "RUNS", 1)
    monkeypatch.setattr(scaling, "FACTORS", (1,))
    monkeypatch.setattr(scaling, "STEPS", (1,))
    monkeypatch.setattr(scaling, "BATCHES", (1, 2))
    engine = load_engine(root / ARTIFACTS / "small-i2v", device="cpu")
    found = list(points(engine, sample_input(engine), print))
    assert [(point.axis, point.value) for point in found] == [
        ("num_frames", "8"), ("size", "64x64"), ("num_inference_steps", "1"),
        ("batch", "1"), ("batch", "2"), ("batch", "1"), ("batch", "2"),
    ]  # fmt: skip
    assert all(value > 0 for point in found for value in point.seconds.values())
