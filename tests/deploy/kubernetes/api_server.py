"""What `kubectl apply` needs of a Kubernetes API server, on loopback: discovery, get, create, patch.

It refuses what a real one refuses at once: a kind that it doesn't serve, a namespace that isn't there, a field that the
schema doesn't know, a change of what cannot change. It stores objects as a real one does (quantities in their canonical
form, empty fields dropped), so that manifests which a real one would call changed each time are seen. Nothing runs.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import kubernetes_validate

Manifest = dict[str, Any]

KINDS = {
    "v1": "Namespace ConfigMap Secret Service ServiceAccount PersistentVolumeClaim",
    "apps/v1": "Deployment StatefulSet",
    "batch/v1": "Job CronJob",
    "networking.k8s.io/v1": "NetworkPolicy",
    "policy/v1": "PodDisruptionBudget",
}
FIXED = {
    "StatefulSet": ("selector", "serviceName", "volumeClaimTemplates"),
    "Deployment": ("selector",),
    "Job": ("template", "completionMode"),
    "PersistentVolumeClaim": ("accessModes", "storageClassName"),
}
"""Parts of `spec` that cannot change."""


class Refusal(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
        self.status |= {"code": code, "reason": reason, "message": message}  # type: ignore[dict-item]


class ApiServer(ThreadingHTTPServer):
    """One cluster's objects, by path.

    Args:
        version: of Kubernetes, whose schema is asked.
    """

    def __init__(self, version: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.version, self.objects, self.writes = version, dict[str, Manifest](), list[str]()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def get(self, path: str) -> Manifest:
        groups = [name for name in KINDS if "/" in name]
        fixed: dict[str, Manifest] = {
            "/version": {"major": "1", "minor": self.version[2:], "gitVersion": f"v{self.version}.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in groups]},
            **{("/apis/" if "/" in name else "/api/") + name: _resources(name) for name in KINDS},
        }
        if path in fixed:
            return fixed[path]
        if path not in self.objects:
            raise Refusal(404, "NotFound", f"{path} not found")
        return self.objects[path]

    def create(self, path: str, manifest: Manifest) -> Manifest:
        self.check(path, manifest)
        path += "/" + manifest["metadata"]["name"]
        if path in self.objects:
            raise Refusal(409, "AlreadyExists", f"{path} already exists")
        return self.store(path, manifest)

    def patch(self, path: str, change: Manifest) -> Manifest:
        before = self.get(path)
        after: Manifest = merged(before, change)
        self.check(path.rpartition("/")[0], after)
        for field in FIXED.get(after["kind"], ()):
            if as_stored(after)["spec"].get(field) != before["spec"].get(field):
                raise Refusal(422, "Invalid", f"{path}: spec.{field}: field is immutable")
        return self.store(path, after)

    def check(self, collection: str, manifest: Manifest) -> None:
        parts = collection.split("/")
        if "namespaces" in parts[:-1] and f"/api/v1/namespaces/{parts[-2]}" not in self.objects:
            raise Refusal(404, "NotFound", f'namespaces "{parts[-2]}" not found')
        try:
            kubernetes_validate.validate(manifest, self.version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise Refusal(400, "BadRequest", f"strict decoding error: {error.message}") from error

    def store(self, path: str, manifest: Manifest) -> Manifest:
        self.writes.append(path)
        self.objects[path] = as_stored(manifest)
        return self.objects[path]


class Handler(BaseHTTPRequestHandler):
    """HTTP's side of it."""

    server: ApiServer

    def do_GET(self) -> None:
        self.answer(200, lambda path, _: self.server.get(path))

    def do_POST(self) -> None:
        self.answer(201, self.server.create)

    def do_PATCH(self) -> None:
        self.answer(200, self.server.patch)

    def answer(self, code: int, act: Any) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].rstrip("/")
        try:
            with self.server.lock:
                found = act(path, json.loads(body or "{}"))
        except Refusal as refusal:
            code, found = refusal.status["code"], refusal.status  # type: ignore[assignment]
        payload = json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args: object) -> None:
        pass


def _group(name: str) -> Manifest:
    version = {"groupVersion": name, "version": name.partition("/")[2]}
    return {"name": name.partition("/")[0], "versions": [version], "preferredVersion": version}


def _resources(name: str) -> Manifest:
    verbs = ["create", "get", "list", "patch"]
    served = [
        {"name": _plural(kind), "kind": kind, "namespaced": kind != "Namespace", "singularName": "", "verbs": verbs}
        for kind in KINDS[name].split()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": served}


def _plural(kind: str) -> str:
    return kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")


def merged(before: Any, change: Any) -> Any:
    """A strategic merge patch, as far as kubectl sends it here: named things in a list are merged by their names."""
    if isinstance(before, dict) and isinstance(change, dict):
        kept = {key: value for key, value in before.items() if key not in change}
        changed = {key: merged(before.get(key), value) for key, value in change.items() if not key.startswith("$")}
        return kept | {key: value for key, value in changed.items() if value is not None}
    if not (isinstance(before, list) and isinstance(change, list) and all("name" in each for each in change)):
        return change
    by_name = {each["name"]: each for each in before}
    gone = {each["name"] for each in change if each.get("$patch") == "delete"}
    by_name |= {each["name"]: merged(by_name.get(each["name"]), each) for each in change}
    return [each for name, each in by_name.items() if name not in gone]


def as_stored(value: Any, key: str = "") -> Any:
    """A manifest as a server keeps it: Go leaves empty fields out, and quantities have one spelling."""
    if isinstance(value, dict):
        kept = {}
        for name, each in value.items():
            is_quantity = key in ("requests", "limits") or name == "sizeLimit"
            stored = canonical(str(each)) if is_quantity else as_stored(each, name)
            if stored is not None and stored != [] and not (name == "value" and stored == ""):
                kept[name] = stored
        return kept
    return [as_stored(each) for each in value] if isinstance(value, list) else value


def canonical(quantity: str) -> str:
    """How Kubernetes writes a quantity: the largest unit that leaves a whole number."""
    number, unit = quantity.rstrip("mkKMGTi"), quantity[len(quantity.rstrip("mkKMGTi")) :]
    step, units = (1024, ["", "Ki", "Mi", "Gi", "Ti"]) if unit.endswith("i") else (1000, ["m", "", "k", "M", "G", "T"])
    value, place = Decimal(number), units.index(unit)
    if value % 1:
        value, place = value * step, place - 1
    while value and value % step == 0 and place + 1 < len(units):
        value, place = value / step, place + 1
    return f"{int(value)}{units[place]}"


@contextmanager
def running(version: str) -> Iterator[ApiServer]:
    with ApiServer(version) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
