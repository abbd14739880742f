"""What the tests ask of manifests: their pods, containers, environments."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """The pods that a manifest makes.

    Args:
        kind: of the manifest.
        name: of the manifest.
        owner: its `spec`.
        labels: of the pods.
        spec: of the pods.
    """

    kind: str
    name: str
    owner: Manifest
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def pods(manifests: list[Manifest]) -> list[Pod]:
    return [pod for manifest in manifests for pod in _pods(manifest)]


def _pods(manifest: Manifest) -> Iterator[Pod]:
    if manifest["kind"] == "Pod":
        yield Pod("Pod", manifest["metadata"]["name"], {}, manifest["metadata"]["labels"], manifest["spec"])
        return
    owner = manifest.get("spec", {})
    if manifest["kind"] == "CronJob":
        owner = owner["jobTemplate"]["spec"]
    template = owner.get("template") if isinstance(owner, dict) else None
    if template and manifest["kind"] in ("Deployment", "StatefulSet", "Job", "CronJob"):
        labels = template["metadata"]["labels"]
        yield Pod(manifest["kind"], manifest["metadata"]["name"], owner, labels, template["spec"])


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def environment(container: Manifest, manifests: list[Manifest], *, secret: str) -> dict[str, str]:
    """What a container's processes see; every key of a Secret is `secret`."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        reference = source.get("configMapRef")
        if reference and not reference.get("optional"):
            found |= named(manifests, "ConfigMap", reference["name"])["data"]
    for variable in container.get("env", ()):
        value = variable.get("value", secret)
        for name, earlier in found.items():
            value = value.replace(f"$({name})", earlier)
        found[variable["name"]] = value
    return found
