"""A resumable training loop: it owns steps, checkpoints and progress, and no mathematics.

Every step draws its data from generators seeded by (seed, step), so a run that was killed resumes on the same path.
Under `accelerate launch` every process draws its own share of a step, and gradients are averaged over processes.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vdmini_compress.player import Player
from vdmini_compress.sharding import Alone, DataParallel, Sharding, layout_of, processes, shown
from vdmini_compress.tracking import Tracker

Losses = dict[str, Tensor]
LossesOf = Callable[[torch.Generator, int], Losses]
"""Given a shard's generator and the step's number, named losses whose sum is minimised. With several shards it runs in
several threads at once."""


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
        learning_rate: peak learning rate.
        warmup: steps of linear warm-up.
        weight_decay: decoupled weight decay.
        max_grad_norm: global gradient norm to clip to.
        ema_decay: decay per step of the averaged weights that are kept.
        optimizer: one of `vdmini_compress.player.OPTIMIZERS`.
        checkpoint_every: steps between checkpoints.
        log_every: steps between progress reports.
        shards: batches per step and process, whose gradients are averaged. On a CPU they are computed side by side, a
            thread each, which gets through more of a small model's short operations than one operation on two threads;
            on a GPU and with sharding one after the other, which saves memory.
        sharding: "full" gives each of several processes a slice of the weights and of all that is kept per weight.
        seed: seed of the data and of all other randomness.
    """

    steps: int
    learning_rate: float
    warmup: int = 100
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.995
    optimizer: str = "adamw"
    checkpoint_every: int = 250
    log_every: int = 50
    shards: int = 1
    sharding: Sharding = "none"
    seed: int = 0


@dataclass(frozen=True)
class Opponent:
    """What a model is trained against, such as a discriminator; it moves after the model in every step.

    Args:
        model: its trainable parameters are optimized; it is never sharded.
        learning_rate: peak learning rate.
        losses_of: its losses, given the generator that the model's losses of the same shard were given.
    """

    model: nn.Module
    learning_rate: float
    losses_of: LossesOf


@dataclass(frozen=True)
class Watch:
    """Something that looks at the averaged weights on the way, in the first process; it draws nothing at random.

    Args:
        every: steps between two looks.
        look: given the number of steps that are done, returns numbers for the log; it may raise to stop the run.
    """

    every: int
    look: Callable[[int], dict[str, float]]


class Run:
    """One training run in one folder.

    Args:
        folder: where `checkpoint.pt` and the log go; an existing checkpoint is resumed.
        model: the module whose trainable parameters are optimized.
        schedule: how long and how fast.
        report: called with one line of progress text.
        opponent: what it is trained against.
        watch: what looks at it on the way.
        alone: leave the other processes of this training out of it.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        schedule: Schedule,
        *,
        report: Callable[[str], None],
        opponent: Opponent | None = None,
        watch: Watch | None = None,
        alone: bool = False,
    ) -> None:
        self.folder, self.schedule, self.report, self.opponent, self.watch = folder, schedule, report, opponent, watch
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = Alone() if alone else processes()
        limits: dict[str, Any] = {
            "weight_decay": schedule.weight_decay,
            "max_grad_norm": schedule.max_grad_norm,
            "optimizer": schedule.optimizer,
        }
        layout = layout_of(model, schedule.sharding, self.processes, threads=schedule.shards)
        self.player = Player(layout, learning_rate=schedule.learning_rate, ema_decay=schedule.ema_decay, **limits)
        self.other: Player | None = None
        if opponent:
            whole = DataParallel(opponent.model, self.processes, threads=schedule.shards)
            self.other = Player(whole, learning_rate=opponent.learning_rate, **limits)
        self.step = 0
        self.seconds = 0.0
        self.tracker = Tracker(folder) if self.processes.is_main_process else None
        self._resume()

    @property
    def model(self) -> nn.Module:
        """What losses must run: the model that is trained, or its slices."""
        return self.player.layout.model

    @property
    def checkpoint(self) -> Path:
        """The file that a killed run continues from."""
        return self.folder / "checkpoint.pt"

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        self.player.load(state["player"])
        if self.other:
            self.other.load(state["other"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.report(f"resumed at step {self.step}/{self.schedule.steps}")

    def save(self) -> None:
        """Write the checkpoint atomically; with several processes the first one writes."""
        state = {"player": self.player.state(), "step": self.step, "seconds": self.seconds}
        if self.other:
            state["other"] = self.other.state()
        if self.processes.is_main_process:
            unfinished = self.checkpoint.with_suffix(".partial")
            torch.save(state, unfinished)
            os.replace(unfinished, self.checkpoint)
        self.processes.wait_for_everyone()

    def train(self, losses_of: LossesOf) -> None:
        """Train to the end of the schedule and load the averaged weights into the model.

        A sharded model has them in the first process alone and is empty elsewhere.

        Args:
            losses_of: of `model`.

        Raises:
            FloatingPointError: when a loss or a gradient is no longer finite.
        """
        while self.step < self.schedule.steps:
            start = time.monotonic()
            losses = self._move(self.player, losses_of)
            if self.other and self.opponent:
                losses |= self._move(self.other, self.opponent.losses_of)
            self.seconds += time.monotonic() - start
            self.step += 1
            self._report(losses)
        if self.tracker:
            self.tracker.close()
        self.player.swap_average()
        self.player.layout.show()

    def _move(self, player: Player, losses_of: LossesOf) -> Losses:
        """One optimizer step of one player; returns its mean losses."""
        losses = self._backward(player, losses_of)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(f"loss is {total.item()} at step {self.step}; lower the learning rate and resume")
        player.update(self.step, warm_cosine(self.step, self.schedule.steps, self.schedule.warmup))
        return losses

    def _backward(self, player: Player, losses_of: LossesOf) -> Losses:
        """Leave the mean gradient over shards and processes in the parameters; return the mean losses."""
        first = (self.step * self.processes.num_processes + self.processes.process_index) * self.schedule.shards

        def draw(shard: int) -> Losses:
            return losses_of(generator_for(self.schedule.seed, first + shard), self.step)

        return player.layout.differentiate([partial(draw, shard) for shard in range(self.schedule.shards)])

    def _look(self, watch: Watch) -> dict[str, float]:
        """What the watch sees, in the first process; the others take part in gathering the weights."""
        self.player.swap_average()
        try:
            with shown(self.player.layout):
                return watch.look(self.step) if self.tracker else {}
        finally:
            self.player.swap_average()

    def _report(self, losses: Losses) -> None:
        """Log, look and save where the step's number says so."""
        wanted, last = self.schedule, self.step == self.schedule.steps
        seen = self._look(self.watch) if self.watch and (self.step % self.watch.every == 0 or last) else {}
        if self.tracker and (self.step % wanted.log_every == 0 or seen):
            values = {name: value.item() for name, value in losses.items()} | seen
            self.tracker.add(self.step, {"seconds": round(self.seconds, 1)} | values)
            left = self.seconds / self.step * (wanted.steps - self.step)
            named = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
            self.report(f"step {self.step}/{wanted.steps}  {named}  {left / 60:.1f} min left")
        if self.step % wanted.checkpoint_every == 0 or last:
            self.save()
