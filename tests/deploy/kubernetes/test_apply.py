"""`kubectl apply -f k8s/` for real, against a server that checks order, schemas and what cannot change."""

import copy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.kubernetes.api_server import ApiServer, canonical, running
from tests.deploy.kubernetes.conftest import MANIFESTS, Kubectl, Manifest

VERSIONS = ("1.33", "1.37")


@pytest.fixture(params=VERSIONS)
def cluster(request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    with running(request.param) as server:
        yield server


@pytest.fixture
def newest() -> Iterator[ApiServer]:
    with running(VERSIONS[-1]) as server:
        yield server


def results(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


def changes(done: subprocess.CompletedProcess[str]) -> set[str]:
    """What a further apply changes; kubectl replaces disruption budgets' selectors by the same each time."""
    found = results(done)
    assert set(found.values()) <= {"unchanged", "configured"}
    return {name for name, result in found.items() if result == "configured" and "poddisruptionbudget" not in name}


def copy_of(manifests: Path, folder: Path) -> Path:
    return Path(shutil.copytree(manifests, folder / "k8s", ignore=shutil.ignore_patterns("overlays")))


def test_the_first_apply_creates_everything_and_the_second_changes_nothing(
    kubectl: Kubectl, cluster: ApiServer, top_level: list[Manifest]
) -> None:
    apply = ("--server", cluster.url, "apply", "--validate=false", "-f", MANIFESTS)
    first = results(kubectl(*apply))
    assert set(first.values()) == {"created"}
    assert len(first) == len(top_level) == len(cluster.writes)
    before = copy.deepcopy(cluster.objects)
    assert changes(kubectl(*apply)) == set()
    assert cluster.objects == before


def test_an_upgrade_changes_what_runs_and_nothing_that_cannot_change(
    kubectl: Kubectl, newest: ApiServer, tmp_path: Path
) -> None:
    folder = copy_of(MANIFESTS, tmp_path)
    apply = ("--server", newest.url, "apply", "--validate=false", "-f", folder)
    kubectl(*apply)
    for path in folder.glob("*.yaml"):
        path.write_text(path.read_text().replace("0.1.0", "0.2.0"))
    assert changes(kubectl(*apply)) == {
        "deployment.apps/vdmini-api",
        "deployment.apps/vdmini-worker",
        "cronjob.batch/vdmini-compression",
    }
    api = newest.get("/apis/apps/v1/namespaces/vdmini/deployments/vdmini-api")
    (container,) = api["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "vdmini/api:0.2.0"
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_applying_again_keeps_the_number_of_workers_that_was_chosen(kubectl: Kubectl, newest: ApiServer) -> None:
    apply = ("--server", newest.url, "apply", "--validate=false", "-f", MANIFESTS)
    kubectl(*apply)
    newest.objects["/apis/apps/v1/namespaces/vdmini/deployments/vdmini-worker"]["spec"]["replicas"] = 7
    assert changes(kubectl(*apply)) == set()
    assert newest.get("/apis/apps/v1/namespaces/vdmini/deployments/vdmini-worker")["spec"]["replicas"] == 7


def test_the_secret_has_another_password_each_time_and_is_not_overwritten(kubectl: Kubectl, newest: ApiServer) -> None:
    kubectl("--server", newest.url, "apply", "--validate=false", "-f", MANIFESTS / "00-namespace.yaml")
    secrets = [subprocess.check_output([MANIFESTS / "secret.sh"], text=True) for _ in range(2)]
    assert secrets[0] != secrets[1]
    create = ("--server", newest.url, "create", "--validate=false", "-f", "-")
    assert kubectl(*create, stdin=secrets[0]).returncode == 0
    again = kubectl(*create, stdin=secrets[1])
    assert again.returncode == 1
    assert "already exists" in again.stderr
    password = newest.get("/api/v1/namespaces/vdmini/secrets/vdmini-secret")["stringData"]["redis-password"]
    assert password in secrets[0]
    assert len(password) == 48
    kubectl("--server", newest.url, "apply", "--validate=false", "-f", MANIFESTS)
    assert password == newest.get("/api/v1/namespaces/vdmini/secrets/vdmini-secret")["stringData"]["redis-password"]


def test_a_compression_is_made_of_the_template_with_another_recipe(kubectl: Kubectl, newest: ApiServer) -> None:
    there = ("--server", newest.url)
    kubectl(*there, "apply", "--validate=false", "-f", MANIFESTS)
    assert not [path for path in newest.objects if "/jobs/" in path], "nothing starts unasked"
    made = ("-n", "vdmini", "create", "job", "my-svd", "--from=cronjob/vdmini-compression", "--dry-run=client")
    template = kubectl(*there, *made, "-o", "yaml")
    assert template.returncode == 0, template.stderr
    wanted = ("RECIPE=/opt/vdmini/recipes/svd-i2v.yaml", "NAME=my-svd")
    job = kubectl("set", "env", "--local", "-f", "-", *wanted, "-o", "yaml", stdin=template.stdout)
    created = kubectl(*there, "create", "--validate=false", "-f", "-", stdin=job.stdout)
    assert created.returncode == 0, created.stderr
    spec = newest.get("/apis/batch/v1/namespaces/vdmini/jobs/my-svd")["spec"]["template"]["spec"]
    environment = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
    assert environment["NAME"] == "my-svd"
    assert environment["RECIPE"].endswith("svd-i2v.yaml")


def test_the_server_refuses_a_wrong_order(kubectl: Kubectl, newest: ApiServer, tmp_path: Path) -> None:
    folder = copy_of(MANIFESTS, tmp_path)
    (folder / "00-namespace.yaml").rename(folder / "99-namespace.yaml")
    done = kubectl("--server", newest.url, "apply", "--validate=false", "-f", folder)
    assert done.returncode == 1
    assert 'namespaces "vdmini" not found' in done.stderr


def test_the_server_refuses_a_field_that_there_is_not(kubectl: Kubectl, newest: ApiServer, tmp_path: Path) -> None:
    folder = copy_of(MANIFESTS, tmp_path)
    api = folder / "50-api.yaml"
    api.write_text(api.read_text().replace("readOnlyRootFilesystem", "readonlyRootFilesystem"))
    done = kubectl("--server", newest.url, "apply", "--validate=false", "-f", folder)
    assert done.returncode == 1
    assert "readonlyRootFilesystem" in done.stderr


@pytest.mark.parametrize(
    ("written", "stored"),
    [("1", "1"), ("1000m", "1"), ("0.5", "500m"), ("250m", "250m"), ("1024Mi", "1Gi"), ("512Mi", "512Mi"), ("0", "0")],
)
def test_the_server_spells_quantities_its_own_way(written: str, stored: str) -> None:
    assert canonical(written) == stored
