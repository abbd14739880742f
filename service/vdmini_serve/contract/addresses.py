"""Which addresses the service may call when a client names a URL. Names are resolved by `api.guard`."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""What IPv6 hosts have on the internet. Mapped, NAT64 and IPv4-compatible addresses lie outside."""

REFUSED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's host, which looks public
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments; Teredo, which embeds IPv4
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which embeds IPv4
        "3fff::/20",  # documentation
    )
)
"""What `ipaddress` calls global in some of its versions, and isn't for us."""


def is_public(address: Address) -> bool:
    """Whether an address belongs to one host on the internet, and to nothing nearer."""
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return not any(address in network for network in REFUSED)


@dataclass(frozen=True)
class Exceptions:
    """What may be called although it is not public: an operator's decision, for tests and for receivers in-house.

    Args:
        hosts: names; whatever they resolve to is allowed.
        networks: addresses; whatever resolves to them is allowed.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def allow(self, host: str, address: Address) -> bool:
        """Whether an address of a host is one of them."""
        return host.lower() in self.hosts or any(address in network for network in self.networks)


def parse_exceptions(entries: Iterable[str]) -> Exceptions:
    """Read host names and networks; what is no address or network is a name.

    Raises:
        ValueError: for an entry that can be neither, or a network with host bits.
    """
    hosts, networks = set(), []
    for entry in entries:
        if _looks_numeric(entry):
            networks.append(ip_network(entry))
        elif not entry or set(entry) & set("/@*? \t"):
            raise ValueError(f"{entry!r} is neither a host name nor a network such as 10.0.0.0/8")
        else:
            hosts.add(entry.lower())
    return Exceptions(frozenset(hosts), tuple(networks))


def _looks_numeric(entry: str) -> bool:
    return ":" in entry or entry.replace(".", "").partition("/")[0].isdigit()


def allowed(host: str, texts: Iterable[str], exceptions: Exceptions) -> tuple[Address, ...]:
    """The addresses of a host; none when there is none, or any that may not be called.

    A host with a public address and a private one is refused as a whole: nobody needs that for a good purpose.
    """
    addresses = tuple(ip_address(text) for text in texts)
    good = all(is_public(address) or exceptions.allow(host, address) for address in addresses)
    return addresses if good else ()
