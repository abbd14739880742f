"""Write what overlays of k8s/ take from elsewhere, since kustomize reads nothing outside an overlay's folder.

python scripts/kubernetes_overlays.py [--check]

`overlays/base/manifests.yaml` is the top level of k8s/ in one file; `overlays/monitoring` gets the rules of
docker/prometheus as a PrometheusRule and the dashboards of docker/grafana as ConfigMaps.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "docker" / "prometheus" / "rules"
DASHBOARDS = ROOT / "docker" / "grafana" / "dashboards"
OVERLAYS = ROOT / "k8s" / "overlays"
LABELS = {"app.kubernetes.io/name": "vdmini", "app.kubernetes.io/part-of": "vdmini"}


class Dumper(yaml.SafeDumper):
    """Writes text of several lines line by line."""


def _represent(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Dumper.add_representer(str, _represent)


def files() -> dict[Path, str]:
    """Every generated file and what stands in it."""
    top = sorted((ROOT / "k8s").glob("*.yaml"))
    dashboards = [_dashboard(path) for path in _all(DASHBOARDS, "json")]
    return {
        OVERLAYS / "base" / "manifests.yaml": _head("k8s/*.yaml") + "---\n".join(path.read_text() for path in top),
        OVERLAYS / "monitoring" / "prometheus-rule.yaml": _head("docker/prometheus/rules") + _dump(_rules()),
        OVERLAYS / "monitoring" / "dashboards.yaml": _head("docker/grafana/dashboards") + _dump(*dashboards),
    }


def _head(source: str) -> str:
    return f"# Written by scripts/kubernetes_overlays.py from {source}; change it there.\n"


def _dump(*manifests: dict[str, Any]) -> str:
    return yaml.dump_all(manifests, Dumper=Dumper, sort_keys=False, width=120, allow_unicode=True)


def _all(folder: Path, suffix: str) -> list[Path]:
    found = sorted(folder.glob(f"*.{suffix}"))
    if not found:
        raise FileNotFoundError(f"{folder.relative_to(ROOT)} has no .{suffix} file; write it first")
    return found


def _rules() -> dict[str, Any]:
    groups = [group for path in _all(RULES, "yml") for group in yaml.safe_load(path.read_text())["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "vdmini", "namespace": "vdmini", "labels": dict(LABELS)},
        "spec": {"groups": groups},
    }


def _dashboard(path: Path) -> dict[str, Any]:
    """Grafana's sidecar takes what has this label, and shows the folder that the annotation names."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{path.stem}-dashboard",
            "namespace": "vdmini",
            "labels": {**LABELS, "grafana_dashboard": "1"},
            "annotations": {"grafana_folder": "VDMini"},
        },
        "data": {path.name: path.read_text()},
    }


def stale() -> list[Path]:
    """Generated files that are not what they should be."""
    return [path for path, text in files().items() if not path.is_file() or path.read_text() != text]


def main() -> int:
    """Write the files, or compare with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say which files are not what they should be")
    if parser.parse_args().check:
        found = stale()
        for path in found:
            print(f"{path.relative_to(ROOT)} is stale; run scripts/kubernetes_overlays.py")
        return 1 if found else 0
    for path, text in files().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
