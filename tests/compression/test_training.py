"""A run that was killed ends with the same weights as one that was not."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vdmini_compress.player import Player
from vdmini_compress.sharding import Alone, DataParallel
from vdmini_compress.training import Opponent, Run, Schedule, Watch, generator_for, warm_cosine

SCHEDULE = Schedule(steps=12, learning_rate=0.01, warmup=3, checkpoint_every=4, log_every=5, seed=7)


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


class Killed(Exception):
    pass


def losses(net: nn.Module, kill_at: int | None = None):  # type: ignore[no-untyped-def]
    def at(generator: torch.Generator, step: int) -> dict[str, Tensor]:
        if step == kill_at:
            raise Killed
        inputs = torch.randn(16, 4, generator=generator)
        return {"fit": (net(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()}

    return at


def trained(folder: Path, kill_at: int | None = None, schedule: Schedule = SCHEDULE) -> nn.Module:
    net = model()
    run = Run(folder, net, schedule, report=lambda _: None)
    run.train(losses(net, kill_at))
    return net


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("kill_at", [1, 4, 6, 11])
def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(tmp_path: Path, kill_at: int, shards: int) -> None:
    schedule = replace(SCHEDULE, shards=shards)
    straight = trained(tmp_path / "straight", schedule=schedule)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", kill_at, schedule)
    resumed = trained(tmp_path / "killed", schedule=schedule)
    for expected, value in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, value)


def test_shards_average_the_gradients_of_batches_drawn_apart(tmp_path: Path) -> None:
    net, seen = model(), []
    run = Run(tmp_path, net, replace(SCHEDULE, shards=3), report=lambda _: None)

    def drawn(generator: torch.Generator, step: int) -> dict[str, Tensor]:
        seen.append(generator.initial_seed())
        return losses(net)(generator, step)

    mean = run._backward(run.player, drawn)["fit"]
    apart = [losses(net)(generator_for(SCHEDULE.seed, shard), 0)["fit"] for shard in range(3)]
    expected = torch.autograd.grad(torch.stack(apart).mean(), list(net.parameters()))
    assert len(set(seen)) == 3
    assert mean.item() == pytest.approx(torch.stack(apart).mean().item())
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient)


def test_training_learns_and_logs(tmp_path: Path) -> None:
    lines: list[str] = []
    net = model()
    run = Run(tmp_path, net, Schedule(steps=200, learning_rate=0.02, log_every=100), report=lines.append)
    before = losses(net)(torch.Generator().manual_seed(0), 0)["fit"]
    run.train(losses(net))
    assert losses(net)(torch.Generator().manual_seed(0), 0)["fit"] < before / 5
    assert [line.split()[1] for line in lines] == ["100/200", "200/200"]
    assert (tmp_path / "log.jsonl").read_text().count("\n") == 2


def test_a_loss_that_is_not_finite_stops_the_run_and_says_so(tmp_path: Path) -> None:
    net = model()
    run = Run(tmp_path, net, SCHEDULE, report=lambda _: None)
    with pytest.raises(FloatingPointError, match="loss is nan at step 0"):
        run.train(lambda *_: {"bad": next(net.parameters()).sum() * math.nan})


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_moves_anything(tmp_path: Path) -> None:
    net = model()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    run = Run(tmp_path, net, SCHEDULE, report=lambda _: None)
    with pytest.raises(FloatingPointError, match="gradients are not finite at step 0"):
        run.train(lambda *_: {"steep": (next(net.parameters()) * 0).sum().sqrt()})
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_an_opponent_moves_after_the_model_and_its_weights_are_saved_too(tmp_path: Path) -> None:
    def game(folder: Path, kill_at: int | None = None) -> list[Tensor]:
        net, rival = model(), nn.Linear(1, 1)
        nn.init.ones_(rival.weight)

        def against(generator: torch.Generator, step: int) -> dict[str, Tensor]:
            return {"rival": (rival(net(torch.randn(8, 4, generator=generator)).detach()) - 1).square().mean()}

        opponent = Opponent(rival, 0.02, against)
        run = Run(folder, net, SCHEDULE, report=lambda _: None, opponent=opponent)
        run.train(losses(net, kill_at))
        assert rival.weight.item() != 1
        return [*net.parameters(), *rival.parameters()]

    straight = game(tmp_path / "straight")
    with pytest.raises(Killed):
        game(tmp_path / "killed", 6)
    for expected, value in zip(straight, game(tmp_path / "killed"), strict=True):
        assert torch.equal(expected, value)


def test_a_watch_sees_the_averaged_weights_and_changes_nothing(tmp_path: Path) -> None:
    straight = trained(tmp_path / "straight")
    net, seen = model(), []

    def look(step: int) -> dict[str, float]:
        seen.append((step, next(net.parameters()).detach().clone()))
        return {"looked": float(step)}

    run = Run(tmp_path / "watched", net, SCHEDULE, report=lambda _: None, watch=Watch(6, look))
    run.train(losses(net))
    assert [step for step, _ in seen] == [6, 12]
    assert torch.equal(seen[-1][1], next(straight.parameters()))
    for expected, value in zip(straight.parameters(), net.parameters(), strict=True):
        assert torch.equal(expected, value)
    assert '"looked": 6.0' in (tmp_path / "watched" / "log.jsonl").read_text()


def test_an_unknown_or_missing_optimizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="optimizer 'sgd' is unknown; give one of adamw, adamw-8bit"):
        Player(DataParallel(model(), Alone()), learning_rate=0.1, optimizer="sgd")


def test_the_learning_rate_warms_up_and_falls() -> None:
    factors = [warm_cosine(step, 100, 10) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (n + 1) for n in range(10)])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.03
