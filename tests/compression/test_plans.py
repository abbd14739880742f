"""Plans by name and by budget: every set of units fits, and the search finds what loses least."""

from itertools import combinations
from pathlib import Path

import pytest

from vdmini.cost import unet_cost
from vdmini.engine import Engine, load_engine
from vdmini.plan import PlanError, PruningPlan, check
from vdmini.student import empty_student
from vdmini_compress.blocks import blocks_of
from vdmini_compress.budget import Budget, BudgetError, candidates, search
from vdmini_compress.cli import main
from vdmini_compress.evaluate import settings_of
from vdmini_compress.importance import BlockImportance, ImportanceReport
from vdmini_compress.material import sample_input
from vdmini_compress.planning import find_subject
from vdmini_compress.presets import mean_magnitude, plan_named
from vdmini_compress.pruning import latent_size
from vdmini_compress.units import UnitCosts, outermost, plan_of, units_of

SMALL = {"num_frames": 8, "height": 8, "width": 8}


@pytest.fixture(scope="module")
def unet(teacher_engine: Engine):  # type: ignore[no-untyped-def]
    return teacher_engine.pipeline.unet


@pytest.fixture(scope="module")
def costs(unet) -> UnitCosts:  # type: ignore[no-untyped-def]
    return UnitCosts.of(unet, **SMALL)


@pytest.mark.parametrize("model", ["svd", "videocrafter2", "small-i2v", "small-t2v"])
def test_every_set_of_units_is_a_plan_that_fits(model: str) -> None:
    config = find_subject(model).unet.config
    units = units_of(config)
    for count in range(len(units) + 1):
        for chosen in combinations(units, count):
            check(plan_of(chosen), config)


def test_costs_of_units_add_up_to_those_of_the_plan(unet, costs: UnitCosts) -> None:  # type: ignore[no-untyped-def]
    paper = set(PruningPlan.preset("paper", unet).removed)
    chosen = [unit for unit in units_of(unet) if paper >= set(unit.blocks)]
    counted = unet_cost(empty_student(type(unet), unet.config, plan_of(chosen)), **SMALL)
    left = costs.left(chosen)
    assert left["parameters"] == pytest.approx(counted.parameters / costs.parameters)
    assert left["flops"] == pytest.approx(counted.flops / costs.flops)
    assert set(plan_of(chosen).removed) == paper


def test_comparison_plans_come_near_the_papers_parameters_with_other_blocks(unet, costs: UnitCosts) -> None:  # type: ignore[no-untyped-def]
    plans = {n: plan_named(n, unet, **SMALL) for n in ("paper", "deep", "magnitude", "random:1", "random:2")}
    left = {}
    for name, plan in plans.items():
        units = [unit for unit in units_of(unet) if set(plan.removed) >= set(plan_of([unit]).removed)]
        left[name] = costs.left(units)["parameters"]
    assert all(abs(share - left["paper"]) < 0.13 for share in left.values())
    assert "down_blocks.0.resnets.1" in plans["paper"].removed
    assert "down_blocks.0.resnets.1" not in plans["deep"].removed
    assert plan_named("random:1", unet, **SMALL) == plans["random:1"]
    assert len({plan_named(f"random:{seed}", unet, **SMALL) for seed in range(8)}) > 2


def test_magnitude_takes_the_smallest_weights_first(unet) -> None:  # type: ignore[no-untyped-def]
    plan = plan_named("magnitude", unet, **SMALL)
    ranked = sorted(units_of(unet), key=lambda u: mean_magnitude(unet, u))
    assert all(plan.removes(block) for block in ranked[0].blocks)
    assert mean_magnitude(unet, ranked[0]) < mean_magnitude(unet, ranked[-1])


@pytest.mark.parametrize("name", ["shallow", "random", "random:x", "deep:bytes", "deep:flops:flops"])
def test_a_name_that_is_no_plan_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(PlanError, match=r"choose one of none, paper, all-pairs, deep, magnitude, random:SEED"):
        plan_named(name, find_subject("small-i2v").unet, **SMALL)


def report_of(engine: Engine, worth: dict[str, tuple[float, float]]) -> ImportanceReport:
    """A report in which every block loses 0.01 and saves 1 ms, but for those named."""
    rows = [
        BlockImportance(
            name=block.name,
            label=block.label,
            kind=block.kind,
            position=block.position,
            parameters=block.parameters,
            content_lost=worth.get(block.name, (0.01, 0))[0] / 2,
            motion_lost=worth.get(block.name, (0.01, 0))[0] / 2,
            seconds_saved=worth.get(block.name, (0, 0.001))[1],
            seconds_saved_interval=(0, 0.002),
        )
        for block in blocks_of(engine.pipeline.unet)
    ]
    return ImportanceReport(
        teacher=engine.manifest.teacher,
        device="cpu",
        dtype="float32",
        clips=4,
        seed=0,
        runs=20,
        content_error=1.0,
        motion_error=1.0,
        stages=4,
        forward_seconds=0.02,
        blocks=tuple(rows),
        measured_at="2026-01-01T00:00:00+00:00",
    )


def test_the_search_finds_the_plan_that_loses_least(teacher_engine: Engine, costs: UnitCosts) -> None:
    unet = teacher_engine.pipeline.unet
    free = {"down_blocks.1.resnets.1": (0.0, 0.004), "up_blocks.2.resnets.1": (0.0, 0.004)}
    report = report_of(teacher_engine, free)
    found = search(report, unet, costs, Budget("latency", 0.65))
    assert set(found.plan.removed) == set(free)
    assert found.left["latency"] == pytest.approx(0.6)
    assert found.lost == pytest.approx(0)
    every = list(candidates(report, unet, costs))
    within = [c for c in every if c.left["parameters"] <= 0.7]
    best = search(report, unet, costs, Budget("parameters", 0.7))
    assert best.lost == min(c.lost for c in within)
    assert all(outermost(c.units) == c.units for c in every)


def test_the_unit_of_a_measure_does_not_change_the_plan(teacher_engine: Engine, costs: UnitCosts) -> None:
    unet = teacher_engine.pipeline.unet
    report = report_of(
        teacher_engine, {"down_blocks.1.resnets.1": (0.001, 0.004), "up_blocks.2.resnets.1": (0.3, 0.001)}
    )
    blocks = [block.model_copy(update={"content_lost": 1024 * block.content_lost}) for block in report.blocks]
    scaled = report.model_copy(update={"content_error": 1024.0, "blocks": tuple(blocks)})
    first, second = (search(given, unet, costs, Budget("latency", 0.7)) for given in (report, scaled))
    assert first.units == second.units
    assert first.lost == pytest.approx(second.lost)
    perfect = report.model_copy(update={"motion_error": 0.0})
    with pytest.raises(BudgetError, match="makes no error to compare with; analyze it on other clips"):
        search(perfect, unet, costs, Budget("latency", 0.7))


def test_a_budget_that_cannot_be_met_or_read_says_what_can(teacher_engine: Engine, costs: UnitCosts) -> None:
    report = report_of(teacher_engine, {})
    with pytest.raises(BudgetError, match=r"no plan leaves 0\.01 of the flops or less; the smallest leaves 0\.\d\d"):
        search(report, teacher_engine.pipeline.unet, costs, Budget.parse("flops=0.01"))
    for text in ("latency", "latency=1.5", "memory=0.5", "flops=x"):
        with pytest.raises(BudgetError, match="cannot be read; give one of latency=SHARE"):
            Budget.parse(text)


def test_prune_by_budget_saves_an_artifact_that_generates(
    teacher_engine: Engine, teacher_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    importance = tmp_path / "importance.json"
    importance.write_text(report_of(teacher_engine, {}).model_dump_json())
    command = ["prune", str(teacher_folder), "--budget", "parameters=0.7", "--output", str(tmp_path / "pruned")]
    assert main(command) == 1
    assert "a budget needs measured importance" in capsys.readouterr().err
    assert main([*command, "--importance", str(importance), "--json"]) == 0
    printed = capsys.readouterr()
    assert '"removed"' in printed.out
    assert "% of the parameters" in printed.err
    student = load_engine(tmp_path / "pruned", device="cpu")
    assert student.manifest.variant == "vdmini"
    assert student.manifest.cost.unet_parameters <= 0.7 * teacher_engine.manifest.cost.unet_parameters
    shown = student.generate(**settings_of(student, **sample_input(student)))
    assert shown.frames.shape == (8, 64, 64, 3)
    assert latent_size(student) == SMALL


def test_a_report_of_another_teacher_is_refused(
    teacher_engine: Engine, teacher_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(teacher_engine, {})
    other = report.model_copy(update={"teacher": report.teacher.model_copy(update={"sha256": "0" * 64})})
    path = tmp_path / "importance.json"
    path.write_text(other.model_dump_json())
    command = ["prune", str(teacher_folder), "--budget", "latency=0.9", "--importance", str(path)]
    assert main(command) == 1
    assert "(00000000), not on" in capsys.readouterr().err
