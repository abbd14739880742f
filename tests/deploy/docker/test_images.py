"""What is in the three images, and what they do without anything else."""

import json
from typing import Any

import pytest

IMAGES = {"api": "vdmini/api:0.1.0", "worker": "vdmini/worker:0.1.0-cpu", "compression": "vdmini/compression:0.1.0-cpu"}
LOCKED = ("--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
API_MEGABYTES = 250

pytestmark = pytest.mark.timeout(1200)


def config(images, name: str) -> dict[str, Any]:
    return images.inspect(IMAGES[name])["Config"]


def inside(images, name: str, script: str) -> str:
    """What a shell in an image says, with a read-only root and no rights."""
    return images("run", *LOCKED, "--entrypoint", "sh", IMAGES[name], "-c", script)


def test_the_api_is_small(images) -> None:
    assert images.inspect(IMAGES["api"])["Size"] <= API_MEGABYTES * 10**6


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_as_a_user_without_rights_on_a_read_only_root(images, name: str) -> None:
    assert config(images, name)["User"] == "10001:10001"
    script = "id -u; touch /here 2>&1; touch /opt/venv/here 2>&1; touch /tmp/here && echo tmp"
    user, root, venv, tmp = inside(images, name, script).splitlines()
    assert (user, tmp) == ("10001", "tmp")
    assert "Read-only file system" in root
    assert "Read-only file system" in venv


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_says_what_it_is_and_how_it_ends(images, name: str) -> None:
    found = config(images, name)
    labels = {key.removeprefix("org.opencontainers.image."): text for key, text in found["Labels"].items()}
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == "0.1.0"
    assert labels["title"].startswith("VDMini")
    assert found["StopSignal"] == "SIGTERM"
    assert isinstance(found["Entrypoint"], list)
    assert inside(images, name, "head -n 3 /licenses/vdmini/LICENSE").strip().startswith("Apache License")
    check = found["Healthcheck"]["Test"]
    expected = {"api": "/livez", "worker": "vdmini-serve healthcheck", "compression": "NONE"}
    assert expected[name] in " ".join(check)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_holds_no_secrets_no_tests_no_history_and_no_tools_of_its_build(images, name: str) -> None:
    unwanted = [".git", ".env", ".env.example", "docker-compose.yml", "constraints.txt", "uv", "*.whl", "conftest.py"]
    names = " -o ".join(f"-name '{pattern}'" for pattern in unwanted)
    packages = "-path /opt/venv/lib -o -path /usr/share/python-wheels"  # of others, with tests of their own
    script = f"find / -xdev \\( {packages} \\) -prune -o -type f \\( {names} \\) -print 2>/dev/null; true"
    assert inside(images, name, script) == ""
    assert inside(images, name, "find /opt/venv -path '*vdmini*' -name 'test*' -o -path '/opt/venv/bin/uv'") == ""
    history = images("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGES[name]) + json.dumps(
        config(images, name)
    )
    assert not any(word in history.lower() for word in ("password", "secret", "token", "-----begin"))


@pytest.mark.parametrize(
    ("name", "present", "absent"),
    [
        ("api", "vdmini_serve.api.app", "torch diffusers vdmini_compress vdmini_serve.worker pip"),
        ("worker", "torch diffusers vdmini_serve.worker", "vdmini_compress vdmini_serve.api uvicorn pip"),
        ("compression", "torch diffusers vdmini_compress", "vdmini_serve celery redis pip"),
    ],
)
def test_an_image_has_what_it_needs_and_nothing_of_the_others(images, name: str, present: str, absent: str) -> None:
    script = "import importlib.util as u, sys; print(*[n for n in sys.argv[1:] if u.find_spec(n)])"
    found = inside(images, name, f"exec python3 -c '{script}' {present} {absent}")
    assert found.split() == present.split()


def test_every_package_is_the_one_of_the_constraints_file(images, root) -> None:
    pinned = dict(line.split("==") for line in (root / "constraints.txt").read_text().split() if "==" in line)
    script = 'from importlib.metadata import distributions as d; print(*[f"{x.name}=={x.version}" for x in d()])'
    for name in IMAGES:
        installed = dict(part.split("==") for part in inside(images, name, f"exec python3 -c '{script}'").split())
        installed = {key.lower().replace("_", "-"): version.split("+")[0] for key, version in installed.items()}
        installed.pop("vdmini")
        assert {
            key: (version, pinned.get(key)) for key, version in installed.items() if pinned.get(key) != version
        } == {}


def test_worker_and_compression_share_the_layer_with_torch(images) -> None:
    worker, compression = (images.inspect(IMAGES[name])["RootFS"]["Layers"] for name in ("worker", "compression"))
    shared = [one for one, other in zip(worker, compression, strict=False) if one == other]
    sizes = [
        int(size) for size in images("history", "--format", "{{.Size}}", "--human=false", IMAGES["worker"]).split()
    ]
    assert len(shared) >= 4
    assert max(sizes) > 500e6, "torch is somewhere"


def test_the_small_models_are_in_the_worker_and_whole(images) -> None:
    folders = " ".join(
        f"/opt/vdmini/{kind}/small-{task}" for kind in ("artifacts", "teachers") for task in ("i2v", "t2v")
    )
    script = "import pathlib, sys; from vdmini.artifact import verify; [verify(pathlib.Path(p)) for p in sys.argv[1:]]"
    inside(images, "worker", f"exec python3 -c '{script}' {folders}")
