"""kubectl and the manifests, for all tests of k8s/."""

import os
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = ROOT / "k8s"

Manifest = dict[str, Any]
Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def kubectl(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Runs the real kubectl; it knows no cluster but the one that `--server` names."""
    found, home = program("kubectl"), tmp_path_factory.mktemp("kubectl")

    def run(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [found, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(home / "none")},
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def render(kubectl: Kubectl) -> Callable[[str], list[Manifest]]:
    """What an overlay comes to."""
    version = kubectl("version", "--client", "-o", "json").stdout
    if int(re.findall(r'"minor": "(\d+)', version)[0]) < 21:
        pytest.skip(
            "this kubectl is older than 1.21 and renders no overlays; without it debian_packages.sh installs another"
        )

    @cache
    def overlay(name: str) -> list[Manifest]:
        done = kubectl("kustomize", MANIFESTS / "overlays" / name)
        assert done.returncode == 0, done.stderr
        assert not done.stderr, "kustomize warns"
        return list(yaml.safe_load_all(done.stdout))

    return overlay


@pytest.fixture(scope="session")
def top_level() -> list[Manifest]:
    """Everything that `kubectl apply -f k8s/` applies, in its order."""
    paths = sorted(MANIFESTS.glob("*.yaml"))
    return [manifest for path in paths for manifest in yaml.safe_load_all(path.read_text())]
