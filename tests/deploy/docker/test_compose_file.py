"""What docker-compose.yml says, by docker compose itself; needs no daemon."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vdmini_serve.contract.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
DEFAULT = {"redis", "api", "worker", "prometheus", "grafana"}

Config = Callable[..., dict[str, Any]]


@pytest.fixture
def config(program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Config:
    """The services that a profile has, with every default filled in."""
    docker = str(program("docker"))
    for name in ("COMPOSE_FILE", "COMPOSE_PROFILES"):
        monkeypatch.delenv(name, raising=False)

    def read(
        *profiles: str, files: tuple[str, ...] = ("docker-compose.yml",), env: str = "/dev/null"
    ) -> dict[str, Any]:
        options = [part for name in files for part in ("--file", name)]
        options += [part for name in profiles for part in ("--profile", name)]
        command = [docker, "compose", "--env-file", env, *options, "config", "--format", "json"]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        found: dict[str, Any] = json.loads(told.stdout)["services"]
        return found

    return read


def test_the_dockerfile_passes_its_linter() -> None:
    exceptions = {
        "DL3003": "a folder with Python's version in its name is entered by a pattern, which WORKDIR doesn't take",
        "DL3008": "the compiler is the one of whatever Debian BASE_IMAGE is",
    }
    ignored = [part for rule in exceptions for part in ("--ignore", rule)]
    command = [
        str(Path(sys.executable).parent / "hadolint"),
        "--no-color",
        *ignored,
        str(ROOT / "docker" / "Dockerfile"),
    ]
    linted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_profiles_add_what_they_promise(config: Config) -> None:
    several = ("docker-compose.yml", "docker/compose.gpus.yml")
    assert set(config()) == DEFAULT
    assert set(config("compress")) == DEFAULT | {"compression"}
    assert set(config("gpu")) == DEFAULT | {"worker-gpu"}
    assert len(set(config("gpus-8", files=several)) - DEFAULT) == 8


def test_each_gpu_worker_has_a_gpu_of_its_own(config: Config) -> None:
    services = config("gpus-8", files=("docker-compose.yml", "docker/compose.gpus.yml"))
    workers = [each for name, each in services.items() if name.startswith("worker-gpu")]
    taken = [each["deploy"]["resources"]["reservations"]["devices"] for each in workers]
    assert sorted(device["device_ids"] for devices in taken for device in devices) == [[str(n)] for n in range(8)]


def test_every_service_is_locked_down_and_limited(config: Config) -> None:
    services = config("gpu", "compress")
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        assert "memory" in service["deploy"]["resources"]["limits"], name
        assert service["restart"] == ("on-failure:5" if name == "compression" else "unless-stopped"), name
        assert re.search(r":[\w.-]*\d", service["image"]), f"{name}: no pinned version"


def test_ports_are_on_loopback_and_redis_has_none(config: Config) -> None:
    services = config("gpu", "compress")
    assert {port["host_ip"] for each in services.values() for port in each.get("ports", ())} == {"127.0.0.1"}
    assert "ports" not in services["redis"]
    assert list(services["redis"]["networks"]) == ["store"]


def test_a_worker_may_end_its_job_before_docker_kills_it(config: Config) -> None:
    worker = config()["worker"]
    grace = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", worker["stop_grace_period"])
    assert grace is not None
    seconds = int(grace[1] or 0) * 60 + int(grace[2] or 0)
    assert seconds > float(worker["environment"]["VDMINI_SOFT_SHUTDOWN_SECONDS"])


def test_every_setting_of_the_service_reaches_a_container(config: Config) -> None:
    services = config()
    reached = {*services["api"]["environment"], *services["worker"]["environment"]}
    assert {f"VDMINI_{name.upper()}" for name in Settings.model_fields} <= reached


def test_the_example_of_settings_is_what_holds_without_it(config: Config, tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text()
    lines = re.findall(r"^#([A-Z_]+=.*)$", example, flags=re.MULTILINE)
    given = [
        line
        for line in lines
        if line.split("=")[0]
        not in ("COMPOSE_PROFILES", "VDMINI_CPU_WORKERS", "VDMINI_ARTIFACTS", "VDMINI_BASELINE_RUNS", "OMP_NUM_THREADS")
    ]
    everything = tmp_path / "env"
    everything.write_text("\n".join(given))
    with_all, without = (config("gpu", "compress", env=str(env)) for env in (everything, "/dev/null"))
    with_all["api"]["environment"].pop("VDMINI_REQUIRE_API_KEY")
    without["api"]["environment"].pop("VDMINI_REQUIRE_API_KEY")
    assert with_all == without
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert asked <= {line.split("=")[0] for line in lines}, "a variable of docker-compose.yml is not in .env.example"
