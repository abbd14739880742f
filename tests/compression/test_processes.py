"""Several processes train one model: what two of them learn is what one learns from the same batches."""

import os
import subprocess
import sys
from pathlib import Path

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


def trained(folder: Path, launcher: list[str], shards: int) -> tuple[dict[str, torch.Tensor], str]:
    script = folder.with_suffix(".py")
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(folder), str(shards)],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    sides = {side: state[side]["parameters"] for side in ("player", "other")}
    return {f"{side}.{i}": value for side, values in sides.items() for i, value in enumerate(values)}, done.stdout


def test_two_processes_learn_what_two_shards_of_one_learn_bit_for_bit(tmp_path: Path) -> None:
    # On CPUs `accelerate launch` starts several processes through MPI alone; torchrun needs none.
    together, said = trained(tmp_path / "two", ["-m", "torch.distributed.run", "--nproc-per-node", "2"], 1)
    alone, _ = trained(tmp_path / "one", [], 2)
    assert all(torch.equal(together[name], alone[name]) for name in alone)
    assert said.count("step 6/6") == 2
    assert (tmp_path / "two" / "alone" / "checkpoint.pt").exists()
    assert (tmp_path / "two" / "log.jsonl").read_text().count("\n") == 2
