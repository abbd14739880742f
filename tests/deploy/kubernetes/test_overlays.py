"""The overlays: what they render to, what they take from elsewhere, and the kinds that a bare cluster lacks."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from tests.deploy.kubernetes.conftest import MANIFESTS, ROOT, Manifest
from tests.deploy.kubernetes.pods import named

from vdmini_serve.contract import metrics

Render = Callable[[str], list[Manifest]]
OVERLAYS = ("base", "cpu", "distributed", "keda", "monitoring", "rwx")
FOREIGN = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1"}
LONGEST_ANNOTATION = 262_144
"""Bytes: `kubectl apply` keeps the whole manifest in an annotation."""


def test_each_overlay_renders_to_what_two_versions_of_kubernetes_know(render: Render) -> None:
    assert {path.name for path in (MANIFESTS / "overlays").iterdir()} == set(OVERLAYS)
    distinct = {json.dumps(manifest): manifest for name in OVERLAYS for manifest in render(name)}
    for text, manifest in distinct.items():
        assert len(text) < LONGEST_ANNOTATION
        if manifest["apiVersion"] not in FOREIGN:
            for version in ("1.33", "1.37"):
                kubernetes_validate.validate(manifest, version, strict=True)


def test_what_is_taken_from_elsewhere_is_fresh() -> None:
    command = [sys.executable, ROOT / "scripts" / "kubernetes_overlays.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_base_is_the_top_level(render: Render, top_level: list[Manifest]) -> None:
    def ordered(manifests: list[Manifest]) -> list[Manifest]:
        return sorted(manifests, key=lambda each: (each["kind"], each["metadata"]["name"]))

    assert ordered(render("base")) == ordered(top_level)


def test_prometheus_reads_the_rules_of_the_operator(
    render: Render, program: Callable[[str], Path], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(named(render("monitoring"), "PrometheusRule", "vdmini")["spec"]))
    done = subprocess.run([program("promtool"), "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = {rule["alert"] for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]
              if "alert" in rule}  # fmt: skip
    assert {"CompressedSlowerThanBaseline", "QueueStuck", "RedisDown"} <= alerts


def test_every_dashboard_is_there_for_grafanas_sidecar(render: Render) -> None:
    found = {}
    for manifest in render("monitoring"):
        if manifest["kind"] == "ConfigMap":
            assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
            found |= manifest["data"]
    assert found == {path.name: path.read_text() for path in (ROOT / "docker/grafana/dashboards").glob("*.json")}


def test_keda_asks_for_a_metric_that_there_is_and_scales_what_there_is(
    render: Render, top_level: list[Manifest]
) -> None:
    spec = named(render("keda"), "ScaledObject", "vdmini-worker")["spec"]
    target = named(top_level, spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
    assert "replicas" not in target["spec"], "applying again would undo what KEDA chose"
    (trigger,) = spec["triggers"]
    query = trigger["metadata"]["query"]
    name, states = re.fullmatch(r'sum\((\w+)\{state=~"([\w|]+)"\}\)', query).groups()  # type: ignore[union-attr]
    assert name == metrics.QUEUE_JOBS.name
    assert set(states.split("|")) == {"waiting", "running"}
    settings = named(top_level, "ConfigMap", "vdmini-config")["data"]
    assert spec["initialCooldownPeriod"] > float(settings["VDMINI_LOAD_TIMEOUT_SECONDS"]), "models are known by then"


class Metrics(BaseHTTPRequestHandler):
    """Counts how often it is scraped."""

    def do_GET(self) -> None:
        self.server.scrapes += 1  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"vdmini_workers 1\n")

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def scraped() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        server.scrapes = 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def as_prometheus_reads_it(monitor: Manifest, address: str, pods: list[str]) -> Manifest:
    """A scrape configuration such as the operator makes of a ServiceMonitor, for so many pods.

    The pods' addresses lead nowhere; the Service's leads to `address`.
    """
    (endpoint,) = monitor["spec"]["endpoints"]
    relabelings = [
        {**{_snake(key): value for key, value in rule.items()}} | (
            {"replacement": address} if rule.get("targetLabel") == "__address__" else {}
        )
        for rule in endpoint["relabelings"]
    ]  # fmt: skip
    told = [{"namespace": "vdmini", "service": "vdmini-api", "container": "api", "endpoint": "http", "pod": pod,
             "node": f"node-{pod}"} for pod in pods]  # fmt: skip
    targets = [{"targets": [f"127.0.0.1:{9 + i}"], "labels": labels} for i, labels in enumerate(told)]
    return {
        "job_name": "serviceMonitor/vdmini/vdmini/0",
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "metrics_path": endpoint["path"],
        "static_configs": targets,
        "relabel_configs": relabelings,
    }


def _snake(name: str) -> str:
    return re.sub("([A-Z])", lambda letter: "_" + letter[1].lower(), name)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def prometheus(program: Path, config: Manifest, folder: Path) -> Iterator[Callable[[str], Any]]:
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen([program, *options, f"--web.listen-address={url}"], stderr=subprocess.DEVNULL)

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://{url}/api/v1/{path}", timeout=5) as answer:
            return json.load(answer)["data"]

    try:
        yield ask
    finally:
        process.terminate()
        process.wait(20)


def test_prometheus_scrapes_one_address_whatever_the_number_of_replicas(
    render: Render, program: Callable[[str], Path], tmp_path: Path
) -> None:
    monitor = named(render("monitoring"), "ServiceMonitor", "vdmini")
    with scraped() as server:
        address = f"127.0.0.1:{server.server_port}"
        config = {"scrape_configs": [as_prometheus_reads_it(monitor, address, ["api-a", "api-b", "api-c"])]}
        with prometheus(program("prometheus"), config, tmp_path) as ask:
            targets = up_targets(ask)
            scrapes = server.scrapes  # type: ignore[attr-defined]
    (target,) = targets
    assert target["scrapeUrl"] == f"http://{address}/metrics"
    assert target["labels"]["instance"] == "vdmini-api.vdmini.svc:8000"
    assert "pod" not in target["labels"]
    assert 1 <= scrapes <= 4


def up_targets(ask: Callable[[str], Any]) -> list[Manifest]:
    deadline = time.monotonic() + 30
    while True:
        try:
            targets: list[Manifest] = ask("targets?state=active")["activeTargets"]
        except OSError:
            targets = []
        if targets and all(target["health"] == "up" for target in targets):
            return targets
        assert time.monotonic() < deadline, targets
        time.sleep(0.1)


def test_the_monitor_finds_the_service_and_names_its_address(render: Render, top_level: list[Manifest]) -> None:
    monitor = named(render("monitoring"), "ServiceMonitor", "vdmini")["spec"]
    matching = [each for each in top_level if each["kind"] == "Service"
                and monitor["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()]  # fmt: skip
    assert [service["metadata"]["name"] for service in matching] == ["vdmini-api"]
    (port,) = matching[0]["spec"]["ports"]
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] == port["name"]
    replacements = {
        rule["targetLabel"]: rule["replacement"] for rule in endpoint["relabelings"] if "targetLabel" in rule
    }
    assert replacements["__address__"] == f"vdmini-api.vdmini.svc:{port['port']}"
