"""Models that come, go and change while a worker runs, and that share too little room."""

import shutil
from pathlib import Path

import pytest

from vdmini.artifact import read_manifest, write_manifest
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.models import weight_bytes
from vdmini_serve.worker.shelf import Shelf, load
from vdmini_serve.worker.warmup import default_spec
from vdmini_serve.worker.watch import Watch

STUDENT, TEACHER = "small-t2v-vdmini", "small-t2v-teacher"


@pytest.fixture
def folders(artifact_folders: tuple[Path, ...]) -> dict[str, Path]:
    return {read_manifest(path).name: path for path in artifact_folders if "t2v" in path.name}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "artifacts"
    made.mkdir()
    return made


@pytest.fixture
def watch(root: Path) -> Watch:
    changes: list[int] = []
    made = Watch(root, Shelf(Settings(device="cpu", max_model_bytes=1), {}), lambda: changes.append(1))
    made.changes = changes  # type: ignore[attr-defined]
    return made


def test_the_model_that_was_not_needed_for_the_longest_time_makes_room(folders: dict[str, Path]) -> None:
    settings = Settings(artifacts=tuple(folders.values()), device="cpu")
    sizes = {name: weight_bytes(path, settings) for name, path in folders.items()}
    shelf = load(settings.model_copy(update={"max_model_bytes": int(0.9 * sum(sizes.values()))}))
    assert shelf.opened() == ()
    for name in (TEACHER, STUDENT, TEACHER):
        assert shelf[name].weight_bytes == pytest.approx(sizes[name], rel=0.05)  # files have heads
        assert shelf.opened() == (name,)
    roomy = load(settings.model_copy(update={"max_model_bytes": sum(sizes.values())}))
    for name in (TEACHER, STUDENT, TEACHER):
        roomy[name]
    assert roomy.opened() == (STUDENT, TEACHER)


def test_a_model_that_is_too_large_for_the_room_is_opened_alone(folders: dict[str, Path]) -> None:
    shelf = load(Settings(artifacts=tuple(folders.values()), device="cpu", max_model_bytes=1))
    model = shelf[STUDENT]
    assert len(model.run(default_spec(model.descriptor), None, lambda _: None).frames) == 8


def test_artifacts_come_change_and_go(watch: Watch, root: Path, folders: dict[str, Path]) -> None:
    watch.look()
    assert (list(watch.shelf), watch.changes) == ([], [])
    shutil.copytree(folders[STUDENT], root / "a")
    watch.look()
    watch.look()
    assert (list(watch.shelf), len(watch.changes)) == ([STUDENT], 1)
    old = watch.shelf[STUDENT]
    manifest = read_manifest(root / "a")
    defaults = manifest.defaults.model_copy(update={"fps": 9})
    write_manifest(root / "a", manifest.model_copy(update={"defaults": defaults}))
    watch.look()
    assert watch.shelf[STUDENT] is not old
    assert watch.shelf[STUDENT].descriptor.defaults.fps == 9
    shutil.rmtree(root / "a")
    watch.look()
    assert (list(watch.shelf), len(watch.changes)) == ([], 3)


def test_a_damaged_artifact_is_refused_by_name_and_the_old_one_serves_on(
    watch: Watch, root: Path, folders: dict[str, Path]
) -> None:
    shutil.copytree(folders[STUDENT], root / "a")
    watch.look()
    old = watch.shelf[STUDENT]
    weights = root / "a" / "unet" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    watch.look()
    assert "is damaged (its sha256 differs)" in watch.refused["a"]
    assert watch.shelf[STUDENT] is old
    weights.write_bytes(content)
    watch.look()
    assert watch.refused == {}
    assert watch.shelf[STUDENT] is not old


def test_two_artifacts_of_one_name_are_not_both_served(watch: Watch, root: Path, folders: dict[str, Path]) -> None:
    for name in ("a", "b"):
        shutil.copytree(folders[STUDENT], root / name)
    watch.look()
    assert list(watch.shelf) == [STUDENT]
    assert f"b is named {STUDENT}, as is what a gave" in watch.refused["b"]


def test_what_is_still_being_copied_waits(watch: Watch, root: Path, folders: dict[str, Path]) -> None:
    shutil.copytree(folders[STUDENT], root / ".a.partial")
    watch.look()
    assert (list(watch.shelf), watch.refused) == ([], {})
    (root / ".a.partial").rename(root / "a")
    watch.look()
    assert list(watch.shelf) == [STUDENT]


def test_an_artifact_is_added_damaged_and_removed_while_the_service_runs(service, folders, eventually) -> None:
    place = service.folder / "artifacts" / "new"

    def names() -> set[str]:
        return {model["name"] for model in service.client.get("/v1/models").json()}

    def refused() -> str:
        (worker,) = service.client.get("/readyz").json()["workers"]
        return str(worker["refused"].get("new", ""))

    shutil.copytree(folders[STUDENT], service.folder / "artifacts" / ".new")
    write_manifest(place.with_name(".new"), read_manifest(place.with_name(".new")).model_copy(update={"name": "new"}))
    place.with_name(".new").rename(place)
    eventually(lambda: "new" in names(), seconds=30)
    ask = {"prompt": "a blue square moves up", "variant": "new", "seed": 1}
    clip = service.client.post("/v1/t2v", json=ask)
    assert clip.status_code == 200
    (place / "model_index.json").write_text("{}")
    eventually(lambda: "model_index.json is damaged" in refused(), seconds=30)
    assert service.client.post("/v1/t2v", json=ask).content == clip.content
    shutil.rmtree(place)
    eventually(lambda: "new" not in names(), seconds=30)
    assert service.client.post("/v1/t2v", json=ask).json()["type"] == "urn:vdmini:problem:unknown-variant"
