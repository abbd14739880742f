"""The network policies allow the paths that the system uses, and no other."""

import random
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
import yaml
from tests.deploy.kubernetes.conftest import MANIFESTS, Manifest
from tests.deploy.kubernetes.pods import pods

from vdmini_serve.contract.addresses import REFUSED, is_public


@dataclass(frozen=True)
class Place:
    """One end of a connection: a pod, or an address outside.

    Args:
        name: for people.
        labels: of the pod.
        namespace: its labels.
        address: when it is no pod.
    """

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    namespace: dict[str, str] = field(default_factory=dict)
    address: str | None = None

    @property
    def ours(self) -> bool:
        return self.namespace.get("kubernetes.io/metadata.name") == "vdmini"


class Policies:
    """NetworkPolicies as the API's documentation defines them: what no policy of a pod allows is denied."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.specs = [each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"]

    def allow(self, source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
        out = self._allows(source, target, port, protocol, "Egress") if source.ours else True
        return out and (self._allows(target, source, port, protocol, "Ingress") if target.ours else True)

    def _allows(self, pod: Place, peer: Place, port: int, protocol: str, direction: str) -> bool:
        chosen = [
            spec for spec in self.specs if direction in spec["policyTypes"] and _fits(spec["podSelector"], pod.labels)
        ]
        assert chosen, f"nothing holds for {direction} of {pod.name}: everything would be allowed"
        side = "from" if direction == "Ingress" else "to"
        return any(
            _port(rule, port, protocol) and any(_peer(each, peer) for each in rule[side])
            for spec in chosen
            for rule in spec.get(direction.lower(), ())
        )


def _fits(selector: Manifest, labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for each in selector.get("matchExpressions", ()):
        assert each["operator"] == "In"
        if labels.get(each["key"]) not in each["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def _port(rule: Manifest, port: int, protocol: str) -> bool:
    return "ports" not in rule or {"protocol": protocol, "port": port} in rule["ports"]


def _peer(peer: Manifest, place: Place) -> bool:
    if "ipBlock" in peer:
        return place.address is not None and _in_block(peer["ipBlock"], ip_address(place.address))
    if place.address is not None:
        return False
    if "namespaceSelector" not in peer and not place.ours:
        return False
    if not _fits(peer.get("namespaceSelector", {}), place.namespace):
        return False
    return _fits(peer.get("podSelector", {}), place.labels)


def _in_block(block: Manifest, address: IPv4Address | IPv6Address) -> bool:
    return address in ip_network(block["cidr"]) and not any(address in ip_network(each) for each in block["except"])


OURS = {"kubernetes.io/metadata.name": "vdmini"}
OUTSIDE = [
    Place("ingress", {"app": "controller"}, {"kubernetes.io/metadata.name": "ingress", "vdmini.io/client": "true"}),
    Place(
        "prometheus",
        {"app.kubernetes.io/name": "prometheus"},
        {"kubernetes.io/metadata.name": "monitoring", "vdmini.io/prometheus": "true"},
    ),
    Place(
        "grafana",
        {"app.kubernetes.io/name": "grafana"},
        {"kubernetes.io/metadata.name": "monitoring", "vdmini.io/prometheus": "true"},
    ),
    Place("stranger", {"app.kubernetes.io/name": "vdmini", "app.kubernetes.io/component": "api"}, {"team": "other"}),
    Place("dns", {"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"}),
    Place("kubelet", {"k8s-app": "other"}, {"kubernetes.io/metadata.name": "kube-system"}),
    Place("internet", address="93.184.216.34"),
    Place("internet-6", address="2606:2800:220:1::1"),
    Place("cluster-ip", address="10.96.0.1"),
    Place("office", address="192.168.1.20"),
    Place("metadata", address="169.254.169.254"),
]


@pytest.fixture(scope="module")
def manifests(top_level: list[Manifest]) -> list[Manifest]:
    folder = MANIFESTS / "overlays" / "distributed"
    beside = [folder / "job.yaml", folder / "network-policy.yaml", MANIFESTS / "tools" / "files.yaml"]
    return top_level + [yaml.safe_load(path.read_text()) for path in beside]


@pytest.fixture(scope="module")
def policies(manifests: list[Manifest]) -> Policies:
    return Policies(manifests)


def test_exactly_the_paths_that_the_system_uses_are_open(manifests: list[Manifest], policies: Policies) -> None:
    inside = [Place(pod.name.removeprefix("vdmini-"), pod.labels, OURS) for pod in pods(manifests)]
    inside.append(Place("unknown pod", {}, OURS))
    everywhere = [*inside, *OUTSIDE]
    ports = [("TCP", 53), ("UDP", 53), ("TCP", 80), ("TCP", 443), ("TCP", 6379), ("TCP", 8000), ("TCP", 29500)]
    found = {
        (source.name, target.name, port, protocol)
        for source in everywhere
        for target in everywhere
        for protocol, port in ports
        if (source.ours or target.ours) and policies.allow(source, target, port, protocol)
    }
    names = {(place.name, "dns", 53, protocol) for place in inside for protocol in ("TCP", "UDP")}
    public = {
        (place, target, 443, "TCP")
        for place in ("api", "compression", "distributed")
        for target in ("internet", "internet-6")
    }
    peers = {("distributed", "distributed", port, protocol) for protocol, port in ports}
    assert found == names | public | peers | {
        ("ingress", "api", 8000, "TCP"),
        ("prometheus", "api", 8000, "TCP"),
        ("api", "redis", 6379, "TCP"),
        ("worker", "redis", 6379, "TCP"),
    }


def edges() -> list[Any]:
    """The first and last address of every network that has a meaning of its own, and their neighbours."""
    four = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ]
    six = ["::/8", "2000::/3", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"]
    networks = [*map(ip_network, [*four, *six]), *REFUSED]
    found = []
    for network in networks:
        first, last, kind = int(network[0]), int(network[-1]), type(network[0])
        top = 2**network.max_prefixlen - 1
        found += [kind(min(max(value, 0), top)) for value in (first - 1, first, last, last + 1)]
    return found


def test_public_means_the_same_to_the_network_as_to_the_service(policies: Policies, manifests: list[Manifest]) -> None:
    (api,) = (Place("api", pod.labels, OURS) for pod in pods(manifests) if pod.name == "vdmini-api")
    draw = random.Random(0)
    drawn = [IPv4Address(draw.getrandbits(32)) for _ in range(2000)]
    drawn += [IPv6Address(draw.getrandbits(128)) for _ in range(500)]  # type: ignore[misc]
    drawn += [IPv6Address(1 << 125 | draw.getrandbits(125)) for _ in range(500)]  # type: ignore[misc]
    for address in [*edges(), *drawn]:
        assert policies.allow(api, Place("somewhere", address=str(address)), 443) == is_public(address), address
