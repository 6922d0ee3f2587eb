"""Which network addresses others may make us talk to: public ones, and what the owner lists by name or CIDR."""

import ipaddress
from collections.abc import Iterable

from wire.failures import ExecutionFailed, InvalidRequest, Reason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Written out, because what `is_global` knows differs between releases of Python.
_BLOCKED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/96",  # loopback and IPv4-compatible
        "64:ff9b:1::/48",  # local NAT64
        "100::/64",  # discard
        "2001::/23",  # Teredo and protocol assignments
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, if it does; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class AddressPolicy:
    """Says yes or no to a host and one of its addresses. `allow` holds host names, addresses and CIDRs."""

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for entry in allow:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                if "/" in entry or not entry:
                    raise InvalidRequest(f"{entry!r} is neither a host name nor a CIDR") from None
                self._hosts.add(entry.lower().rstrip("."))

    def permits(self, host: str, address: str) -> bool:
        """Whether a connection to `address`, found by looking up `host`, may be opened."""
        if host.lower().rstrip(".") in self._hosts:
            return True
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        candidates = {found, _inner(found)}
        if any(one in network for one in candidates for network in self._networks if one.version == network.version):
            return True
        inner = _inner(found)
        return not any(inner in network for network in _BLOCKED if inner.version == network.version)

    def check_literal(self, host: str) -> None:
        """Refuse a host that is itself a blocked address. Names are checked when they are looked up."""
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return
        if not self.permits(host, host):
            raise refused(host, host)


def refused(host: str, address: str) -> ExecutionFailed:
    """The failure to raise for a blocked address."""
    shown = host if host == address else f"{host} ({address})"
    return ExecutionFailed(
        Reason(
            "address-not-allowed",
            f"nothing here connects to {shown}: the address is not public",
            "the owner can list the host or its network as allowed",
            retryable=False,
        )
    )
