"""A recipe with a mistake is refused with the field's name and what is allowed."""

from pathlib import Path

import pytest

from vdmini_compress.cli import main
from vdmini_compress.recipe import RecipeError, load_recipe


@pytest.fixture
def recipe(root: Path) -> Path:
    return root / "compression" / "recipes" / "small-i2v.yaml"


@pytest.mark.parametrize("name", ["small-i2v", "small-t2v"])
def test_the_shipped_recipes_are_valid_and_name_an_existing_teacher(root: Path, name: str) -> None:
    loaded = load_recipe(root / "compression" / "recipes" / f"{name}.yaml")
    assert (loaded.teacher / "vdmini.json").is_file()
    assert loaded.plan == "paper"


def test_settings_on_the_command_line_replace_those_of_the_file(recipe: Path) -> None:
    assert load_recipe(recipe, ["distill.steps=7", "seed=3"]).distill.steps == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("distill.stepz=5", r"distill\.stepz is unknown; here are steps, batch_size"),
        ("plam=paper", r"plam is unknown; here are name, teacher, family, plan"),
        ("distill.steps=many", r"distill\.steps.*got 'many'"),
        ("distill.steps=-1", r"distill\.steps.*greater than or equal to 0"),
        ("latency.runs=3", r"latency\.runs.*greater than or equal to 20"),
        ("data.source=youtube", r"data\.source.*small-world"),
        ("distill={sharding: full, optimizer: adamw-8bit, steps: 1, batch_size: 1, learning_rate: 1.0e-3}", "slices"),
        ("distill", "sets nothing"),
        ("seed.deep=1", "has no fields of its own"),
    ],
)
def test_a_mistake_is_named(recipe: Path, change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe, [change])


@pytest.mark.parametrize(
    ("content", "message"),
    [("plan: [", "is not YAML"), ("- a list", "holds no mapping"), ("name: x", "teacher is missing")],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


def test_the_command_prints_one_line_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path / "none.yaml"), "--output", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().err
    assert "cannot be read" in printed
    assert "Traceback" not in printed
    assert list(tmp_path.iterdir()) == []
