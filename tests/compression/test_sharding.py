"""A sharded student learns what a whole one learns, in two real processes, whatever else a healing asks for."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vdmini_compress.reporting.curves import read_log
from vdmini_compress.sharding import DataParallel, layout_of, processes
from vdmini_compress.training import Run, Schedule

SCRIPT = '''
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import UNetSpatioTemporalConditionModel

from vdmini.families import family_named
from vdmini.plan import PruningPlan
from vdmini.student import build_student
from vdmini_compress.data import WORLDS
from vdmini_compress.distill import Distillation, heal
from vdmini_compress.recipe import Distill
from vdmini_compress.sharding import processes
from vdmini_compress.training import Watch

torch.manual_seed(0)
teacher = UNetSpatioTemporalConditionModel(
    sample_size=8,
    block_out_channels=(64, 64),  # at 32, a channel is a norm's group, and its bias learns from rounding alone
    down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
    up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    addition_time_embed_dim=8,
    projection_class_embeddings_input_dim=24,
    layers_per_block=1,
    cross_attention_dim=16,
    num_attention_heads=(2, 2),
).eval()
cache = {
    "latents_NFCHW": torch.randn(4, 2, 4, 8, 8),
    "motion_bucket_id_N": torch.full((4,), 127.0),
    "image_latents_NCHW": torch.randn(4, 4, 8, 8),
    "image_embeds_ND": torch.randn(4, 16),
}
WANTED = {
    "steps": 2, "batch_size": 1, "learning_rate": 3e-4, "warmup": 1, "checkpoint_every": 1,
    "lambda_mca": 1.0, "task_loss": "pseudo-huber",
}
SHARDED = {"sharding": "full", "gradient_checkpointing": True}
FEATURES = {"steps": 1, "lambda_task": 0, "lambda_output": 0, "lambda_mca": 0}


class Killed(Exception):
    pass


class Cut(Distillation):
    """A distillation that is killed at a step."""

    def losses(self, generator, step):
        if step == 1:
            raise Killed
        return super().losses(generator, step)


def healed(name, kind=Distillation, **changes):
    torch.manual_seed(1)
    student = build_student(teacher, PruningPlan.of(["mid_block"]))
    pipeline = SimpleNamespace(unet=teacher, device=torch.device("cpu"))
    settings = Distill.model_validate(WANTED | changes)
    made = kind(family_named("svd"), pipeline, student, WORLDS["i2v"], cache, torch.ones(4), settings)
    look = Watch(2, lambda step: {"seen": sum(p.double().abs().sum().item() for p in student.parameters())})
    try:
        heal(made, Path(sys.argv[1]) / name, seed=0, report=print, watch=look)
    except Killed:
        return
    if processes().is_main_process:
        torch.save(student.state_dict(), Path(sys.argv[1]) / f"{name}.pt")
        print(name, type(student).__name__)


healed("whole", shards=2)
healed("sharded", shards=2, **SHARDED)
healed("cut", kind=Cut, shards=2, **SHARDED)
healed("cut", shards=2, **SHARDED)
healed("moved", kind=Cut, shards=2)
healed("moved", shards=2, **SHARDED)
healed("features", **FEATURES)
healed("sharded-features", **FEATURES, **SHARDED)
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, untraced: dict[str, str]) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("sharding")
    script = folder / "heal.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script), str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        env=untraced | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def weights(made: tuple[Path, str], name: str) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(made[0] / f"{name}.pt", weights_only=True)
    return loaded


@pytest.mark.parametrize(("name", "like"), [("sharded", "whole"), ("moved", "whole"), ("sharded-features", "features")])
def test_a_sharded_student_ends_with_the_weights_of_a_whole_one(made: tuple[Path, str], name: str, like: str) -> None:
    found, right = weights(made, name), weights(made, like)
    assert found.keys() == right.keys()
    apart = {key: (found[key] - value).abs().max().item() for key, value in right.items()}
    assert max(apart.values()) < 1e-5, max(apart, key=lambda key: apart[key])


def test_a_sharded_run_that_was_killed_ends_with_the_same_weights_bit_for_bit(made: tuple[Path, str]) -> None:
    straight, resumed = weights(made, "sharded"), weights(made, "cut")
    assert "resumed at step 1/2" in made[1]
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def outline(value: Any) -> Any:
    """A checkpoint without its numbers."""
    if isinstance(value, torch.Tensor):
        return value.shape, value.dtype, value.untyped_storage().nbytes() == value.nbytes
    if isinstance(value, dict):
        return {key: outline(entry) for key, entry in value.items()}
    return [outline(entry) for entry in value] if isinstance(value, list) else type(value)


def test_its_checkpoint_is_one_that_any_number_of_processes_resumes(made: tuple[Path, str]) -> None:
    sharded, whole = (torch.load(made[0] / name / "checkpoint.pt") for name in ("sharded", "whole"))
    assert outline(sharded) == outline(whole)


def test_only_the_first_process_sees_the_student_and_it_is_what_it_was(made: tuple[Path, str]) -> None:
    folder, said = made
    seen = [read_log(folder / name / "log.jsonl")[-1]["seen"] for name in ("sharded", "whole")]
    assert seen[0] == pytest.approx(seen[1])
    assert said.count("sharded VDMiniUNetSpatioTemporal") == 1


def test_one_process_has_nothing_to_share_out(tmp_path: Path) -> None:
    net = nn.Linear(2, 1)
    assert isinstance(layout_of(net, "full", processes()), DataParallel)
    run = Run(tmp_path, net, Schedule(steps=1, learning_rate=0.1, sharding="full"), report=lambda _: None)
    run.train(lambda *_: {"size": net(torch.ones(1, 2)).sum()})
    assert run.model is net
