"""A resumable training loop: it owns steps, checkpoints, the average of the weights and progress, and no mathematics.

Every step draws its data from a generator seeded by (seed, step), so a run that was killed resumes on the same path.
"""

import json
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Losses = dict[str, Tensor]


def generator_for(seed: int, step: int) -> torch.Generator:
    """The CPU generator of one step: a function of the run's seed and the step alone."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def warm_cosine(step: int, steps: int, warmup: int) -> float:
    """Learning-rate factor in 0..1: linear warm-up, then a cosine down to 2 % at the last step."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to train.

    Args:
        steps: optimizer steps in all.
        learning_rate: peak of AdamW's learning rate.
        warmup: steps of linear warm-up.
        weight_decay: AdamW's decoupled weight decay.
        max_grad_norm: global gradient norm to clip to.
        ema_decay: decay per step of the averaged weights that are kept.
        checkpoint_every: steps between checkpoints.
        log_every: steps between progress reports.
        shards: batches per step, computed side by side, a thread each, and averaged. On a CPU two threads of one
            operation each get through more of a small model's short operations than one operation on two threads.
        seed: seed of the data and of all other randomness.
    """

    steps: int
    learning_rate: float
    warmup: int = 100
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.995
    checkpoint_every: int = 250
    log_every: int = 50
    shards: int = 1
    seed: int = 0


class Run:
    """One training run in one folder.

    Args:
        folder: where `checkpoint.pt` and `log.jsonl` go; an existing checkpoint is resumed.
        model: the module whose trainable parameters are optimized.
        schedule: how long and how fast.
        report: called with one line of progress text.
    """

    def __init__(self, folder: Path, model: nn.Module, schedule: Schedule, *, report: Callable[[str], None]) -> None:
        self.folder, self.model, self.schedule, self.report = folder, model, schedule, report
        folder.mkdir(parents=True, exist_ok=True)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, schedule.learning_rate, betas=(0.9, 0.99), weight_decay=schedule.weight_decay, fused=True
        )
        self.average = [p.detach().clone() for p in self.trained]
        each = max(1, torch.get_num_threads() // schedule.shards)
        self._threads = ThreadPoolExecutor(schedule.shards, initializer=torch.set_num_threads, initargs=(each,))
        self.step = 0
        self.seconds = 0.0
        self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that a killed run continues from."""
        return self.folder / "checkpoint.pt"

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        for parameter, value, mean, kept in zip(
            self.trained, state["parameters"], self.average, state["average"], strict=True
        ):
            parameter.data.copy_(value)
            mean.copy_(kept)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.report(f"resumed at step {self.step}/{self.schedule.steps}")

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "parameters": [p.detach() for p in self.trained],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def train(self, losses_of: Callable[[torch.Generator, int], Losses]) -> None:
        """Train to the end of the schedule and load the averaged weights into the model.

        Args:
            losses_of: given a shard's generator and the step's number, returns named losses; their sum is minimised.
                With more than one shard it runs in several threads at once.

        Raises:
            FloatingPointError: when the loss is no longer finite.
        """
        while self.step < self.schedule.steps:
            start = time.monotonic()
            losses = self._backward(losses_of)
            total = self._update(losses)
            self.seconds += time.monotonic() - start
            self.step += 1
            if self.step % self.schedule.log_every == 0:
                self._log(total, losses)
            if self.step % self.schedule.checkpoint_every == 0 or self.step == self.schedule.steps:
                self.save()
        for parameter, mean in zip(self.trained, self.average, strict=True):
            parameter.data.copy_(mean)

    def _backward(self, losses_of: Callable[[torch.Generator, int], Losses]) -> Losses:
        """Leave the shards' mean gradient in the parameters; return the shards' mean losses."""
        shards = self.schedule.shards

        def differentiate(shard: int) -> tuple[Losses, tuple[Tensor | None, ...]]:
            losses = losses_of(generator_for(self.schedule.seed, self.step * shards + shard), self.step)
            total = torch.stack(list(losses.values())).sum()
            return losses, torch.autograd.grad(total, self.trained, allow_unused=True)

        done = [differentiate(0)] if shards == 1 else list(self._threads.map(differentiate, range(shards)))
        for parameter, *parts in zip(self.trained, *(gradients for _, gradients in done), strict=True):
            known = [part for part in parts if part is not None]
            parameter.grad = torch.stack(known).sum(dim=0) / shards if known else None
        return {name: torch.stack([losses[name].detach() for losses, _ in done]).mean() for name in done[0][0]}

    def _update(self, losses: Losses) -> float:
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(f"loss is {total.item()} at step {self.step}; lower the learning rate and resume")
        factor = warm_cosine(self.step, self.schedule.steps, self.schedule.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate * factor
        nn.utils.clip_grad_norm_(self.trained, self.schedule.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(self.schedule.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.trained], 1 - decay)
        return total.item()

    def _log(self, total: float, losses: Losses) -> None:
        left = self.seconds / self.step * (self.schedule.steps - self.step)
        row: dict[str, Any] = {"step": self.step, "seconds": round(self.seconds, 1), "loss": round(total, 6)}
        row |= {name: round(value.item(), 6) for name, value in losses.items()}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        named = "  ".join(f"{name} {value.item():.4f}" for name, value in losses.items())
        self.report(f"step {self.step}/{self.schedule.steps}  {named}  {left / 60:.1f} min left")
