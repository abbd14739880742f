"""What holds for every manifest of ours, whatever is changed in one of them."""

import re
import subprocess
import tomllib
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.deploy.kubernetes.conftest import MANIFESTS, ROOT, Manifest
from tests.deploy.kubernetes.pods import Pod, environment, named, pods

from vdmini_serve.cli import make_parser as serve_parser
from vdmini_serve.contract.settings import Settings

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SERVES = ("Deployment", "StatefulSet")


@pytest.fixture(scope="module")
def everything(top_level: list[Manifest]) -> list[Manifest]:
    """The top level, and what is applied beside it."""
    paths = [*sorted((MANIFESTS / "overlays" / "distributed").glob("*.yaml")), *(MANIFESTS / "tools").glob("*.yaml")]
    texts = [path.read_text() for path in paths if path.name != "kustomization.yaml"]
    return top_level + [manifest for text in texts for manifest in yaml.safe_load_all(text)]


@pytest.fixture(scope="module")
def all_pods(everything: list[Manifest]) -> list[Pod]:
    found = pods(everything)
    assert {pod.name for pod in found} == {
        *("vdmini-redis", "vdmini-api", "vdmini-worker", "vdmini-compression", "vdmini-distributed", "vdmini-files")
    }
    return found


def test_the_top_level_needs_no_kind_that_a_bare_cluster_lacks(top_level: list[Manifest]) -> None:
    builtin = {"v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "policy/v1"}
    assert {manifest["apiVersion"] for manifest in top_level} <= builtin
    assert not list(MANIFESTS.glob("[Kk]ustomization*"))


def test_all_is_in_one_namespace_and_labelled(everything: list[Manifest]) -> None:
    for manifest in everything:
        labels = manifest["metadata"]["labels"]
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "vdmini"
        assert labels["app.kubernetes.io/name"] == labels["app.kubernetes.io/part-of"] == "vdmini"
        assert "app.kubernetes.io/component" in labels or not manifest.get("spec", {}).get("template")


def test_every_pod_keeps_to_the_restricted_standard(all_pods: list[Pod]) -> None:
    for pod in all_pods:
        shared = pod.spec["securityContext"]
        assert shared["runAsNonRoot"] is True
        assert shared["runAsUser"] == shared["fsGroup"] == 10001
        assert shared["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & pod.spec.keys()
        for volume in pod.spec.get("volumes", ()):
            assert {"emptyDir", "persistentVolumeClaim", "configMap"} & volume.keys(), f"{pod.name}: {volume}"
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_no_pod_has_a_token_or_variables_of_services(all_pods: list[Pod], top_level: list[Manifest]) -> None:
    assert named(top_level, "ServiceAccount", "vdmini")["automountServiceAccountToken"] is False
    for pod in all_pods:
        assert pod.spec["serviceAccountName"] == "vdmini"
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False, "VDMINI_API_PORT would look like a setting"


def test_every_container_has_requests_and_limits(all_pods: list[Pod]) -> None:
    for pod in all_pods:
        for container in pod.containers:
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert {"cpu", "memory"} <= requests.keys() & limits.keys()
            assert requests.get("nvidia.com/gpu") == limits.get("nvidia.com/gpu")


def test_whoever_wants_a_gpu_tolerates_its_taint(all_pods: list[Pod]) -> None:
    wanting = [
        pod for pod in all_pods if any("nvidia.com/gpu" in each["resources"]["limits"] for each in pod.containers)
    ]
    assert {pod.name for pod in wanting} == {"vdmini-worker", "vdmini-compression", "vdmini-distributed"}
    for pod in wanting:
        assert [taint["key"] for taint in pod.spec["tolerations"]] == ["nvidia.com/gpu"]
        assert [volume for volume in pod.spec["volumes"] if volume.get("emptyDir", {}).get("medium") == "Memory"]


def test_what_serves_has_three_probes_and_is_spread(all_pods: list[Pod]) -> None:
    for pod in all_pods:
        if pod.kind in SERVES:
            (container,) = pod.spec["containers"]
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
            (spread,) = pod.spec["topologySpreadConstraints"]
            assert spread["labelSelector"]["matchLabels"].items() <= pod.labels.items()


def test_a_worker_gets_as_long_as_its_settings_allow(top_level: list[Manifest]) -> None:
    (worker,) = (pod for pod in pods(top_level) if pod.name == "vdmini-worker")
    settings = named(top_level, "ConfigMap", "vdmini-config")["data"]
    probe = worker.spec["containers"][0]["startupProbe"]
    startup = probe["failureThreshold"] * probe["periodSeconds"]
    assert worker.spec["terminationGracePeriodSeconds"] >= float(settings["VDMINI_SOFT_SHUTDOWN_SECONDS"]) + 30
    assert startup >= float(settings["VDMINI_LOAD_TIMEOUT_SECONDS"]) + 60
    assert worker.owner["progressDeadlineSeconds"] > startup


def test_what_a_pod_is_told_are_settings_and_valid_ones(
    top_level: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {f"VDMINI_{name.upper()}" for name in Settings.model_fields}
    for pod in pods(top_level):
        if pod.name in ("vdmini-api", "vdmini-worker"):
            for container in pod.containers:
                told = environment(container, top_level, secret="0123abcd")
                assert {name for name in told if name.startswith("VDMINI_")} <= known
                with monkeypatch.context() as patch:
                    for name, value in told.items():
                        patch.setenv(name, value)
                    settings = Settings()
                if container["name"] in ("api", "worker"):
                    assert settings.broker_url.get_secret_value() == "redis://:0123abcd@vdmini-redis:6379/0"
                    assert settings.jobs_url.get_secret_value() == "redis://:0123abcd@vdmini-redis:6379/1"


def test_keda_tells_settings_too(top_level: list[Manifest]) -> None:
    extra = yaml.safe_load((MANIFESTS / "overlays/keda/config.yaml").read_text())
    assert set(extra["data"]) <= {f"VDMINI_{name.upper()}" for name in Settings.model_fields}
    (api,) = (pod.spec["containers"][0] for pod in pods(top_level) if pod.name == "vdmini-api")
    assert {"configMapRef": {"name": extra["metadata"]["name"], "optional": True}} in api["envFrom"]


def test_commands_are_those_that_the_program_has(top_level: list[Manifest]) -> None:
    for pod in pods(top_level):
        for container in pod.containers:
            probes = [container[name]["exec"]["command"] for name in container if name.endswith("Probe")
                      and "exec" in container[name]]  # fmt: skip
            for command in [container["command"] + container.get("args", []), *probes]:
                if command[0] == "vdmini-serve":
                    serve_parser().parse_args(command[1:])  # ends the test where there is no such command


def test_tools_are_what_two_versions_of_kubernetes_know(everything: list[Manifest]) -> None:
    pod = named(everything, "Pod", "vdmini-files")
    for version in ("1.33", "1.37"):
        kubernetes_validate.validate(pod, version, strict=True)


def test_images_and_labels_are_of_this_version(all_pods: list[Pod]) -> None:
    for pod in all_pods:
        ours = [each["image"] for each in pod.containers if each["image"].startswith("vdmini/")]
        assert all(image.endswith(":" + VERSION) for image in ours)
        assert pod.kind == "Pod" or not ours or pod.labels["app.kubernetes.io/version"] == VERSION
        assert all(":" in each["image"] for each in pod.containers)
    for path in MANIFESTS.rglob("kustomization.yaml"):
        for image in yaml.safe_load(path.read_text()).get("images", ()):
            assert image["newTag"].removesuffix("-cpu") == VERSION


def test_selectors_find_their_pods(everything: list[Manifest], all_pods: list[Pod]) -> None:
    for pod in all_pods:
        if pod.kind in SERVES:
            selector = pod.owner["selector"]["matchLabels"]
            assert "app.kubernetes.io/version" not in selector, "selectors cannot change, versions do"
            assert [other.name for other in all_pods if selector.items() <= other.labels.items()] == [pod.name]
    for manifest in everything:
        if manifest["kind"] == "Service":
            found = [pod for pod in all_pods if manifest["spec"]["selector"].items() <= pod.labels.items()]
            assert [pod.name for pod in found] == [manifest["metadata"]["name"]]
            ports = {port["name"] for each in found[0].containers for port in each.get("ports", ())}
            assert {port["targetPort"] for port in manifest["spec"]["ports"]} <= ports
        if manifest["kind"] == "PodDisruptionBudget":
            labels = manifest["spec"]["selector"]["matchLabels"].items()
            (found_pod,) = (pod for pod in all_pods if labels <= pod.labels.items())
            assert manifest["spec"].get("minAvailable", 0) < found_pod.owner.get("replicas", 1), "nodes can be drained"


def test_whatever_is_mounted_is_there(top_level: list[Manifest], all_pods: list[Pod]) -> None:
    there = {(each["kind"], each["metadata"]["name"]) for each in top_level}
    secret = yaml.safe_load(subprocess.check_output([MANIFESTS / "secret.sh"], text=True))
    for pod in all_pods:
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", ())}
        templates = {each["metadata"]["name"] for each in pod.owner.get("volumeClaimTemplates", ())}
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
        for container in pod.containers:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys() | templates
            for variable in container.get("env", ()):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference:
                    assert reference["name"] == secret["metadata"]["name"]
                    assert reference["key"] in secret["stringData"]


def test_nothing_in_the_repository_is_a_secret(top_level: list[Manifest]) -> None:
    assert not [manifest for manifest in top_level if manifest["kind"] == "Secret"]


def test_the_cpu_overlay_asks_for_no_gpu(render: Callable[[str], list[Manifest]], top_level: list[Manifest]) -> None:
    rendered = render("cpu")
    assert _identities(rendered) == _identities(top_level)
    for pod in pods(rendered):
        assert "tolerations" not in pod.spec
        for container in pod.containers:
            assert not any("nvidia" in name for amounts in container["resources"].values() for name in amounts)
    worker = named(rendered, "Deployment", "vdmini-worker")["spec"]["template"]["spec"]["containers"][0]
    assert worker["image"] == f"vdmini/worker:{VERSION}-cpu"
    assert worker["startupProbe"] == _worker(top_level)["startupProbe"], "patches change nothing else"


def test_the_rwx_overlay_changes_volumes_alone(
    render: Callable[[str], list[Manifest]], top_level: list[Manifest]
) -> None:
    rendered = render("rwx")
    assert _identities(rendered) == _identities(top_level)
    claims = [each["spec"] for each in rendered if each["kind"] == "PersistentVolumeClaim"]
    assert [claim["accessModes"] for claim in claims] == [["ReadWriteMany"]] * 3
    assert _worker(rendered) == _worker(top_level)


def _identities(manifests: list[Manifest]) -> set[tuple[str, str]]:
    return {(each["kind"], each["metadata"]["name"]) for each in manifests}


def _worker(manifests: list[Manifest]) -> Any:
    return named(manifests, "Deployment", "vdmini-worker")["spec"]["template"]["spec"]["containers"][0]


def test_what_the_readme_names_is_there() -> None:
    text = (MANIFESTS / "README.md").read_text()
    named_here = set(
        re.findall(r"(?:-f|-k|^\| `|`)\s?((?:k8s/)?(?:overlays|tools)/[\w/.-]+|[0-7]\d-[\w-]+\.yaml)", text)
    )
    assert len(named_here) > 12
    for name in named_here - {"k8s/overlays/mine/kustomization.yaml"}:
        assert (MANIFESTS / name.removeprefix("k8s/")).exists(), name
