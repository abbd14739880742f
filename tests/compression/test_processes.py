"""Several processes train one model: what two of them learn is what one learns from the same batches."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import sys
from pathlib import Path
import torch
from torch import nn
from vdmini_compress.training import Opponent, Run, Schedule

torch.manual_seed(1)
net, rival = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), nn.Linear(1, 1)


def losses(generator, step):
    inputs = torch.randn(16, 4, generator=generator)
    return {"fit": (net(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()}


def against(generator, step):
    return {"rival": (rival(net(torch.randn(8, 4, generator=generator)).detach()) - 1).square().mean()}


schedule = Schedule(steps=6, learning_rate=0.01, warmup=2, checkpoint_every=3, log_every=3, shards=int(sys.argv[2]))
run = Run(Path(sys.argv[1]), net, schedule, report=print, opponent=Opponent(rival, 0.02, against))
run.train(losses)
if run.processes.is_main_process:  # such as the healing of a decoder; the other process has left
    Run(Path(sys.argv[1]) / "alone", net, schedule, report=print, alone=True).train(losses)
"""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    sides = {side: state[side]["parameters"] for side in ("player", "other")}
    return {f"{side}.{i}": value for side, values in sides.items() for i, value in enumerate(values)}


def test_two_processes_learn_what_two_shards_of_one_learn_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untraced: dict[str, str]
) -> None:
    script, two, one = tmp_path / "train.py", tmp_path / "two", tmp_path / "one"
    script.write_text(SCRIPT)
    done = subprocess.run(
        # On CPUs `accelerate launch` starts several processes through MPI alone; torchrun needs none.
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script), str(two), "1"],
        capture_output=True,
        text=True,
        timeout=240,
        env=untraced | {"CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(sys, "argv", [str(script), str(one), "2"])
    runpy.run_path(str(script))
    together, alone = weights(two), weights(one)
    assert all(torch.equal(together[name], alone[name]) for name in alone)
    assert done.stdout.count("step 6/6") == 2
    assert (two / "alone" / "checkpoint.pt").exists()
    assert (two / "log.jsonl").read_text().count("\n") == 2
