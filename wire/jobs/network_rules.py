"""What a task's network may be: type, domains, ports. Pure."""

import re
import socket

from wire.jobs import limits
from wire.jobs.job import NETWORKS, Network, Port, Task
from wire.jobs.params import engine_kind
from wire.jobs.text_rules import check_choice, too_many
from wire.problems import Problems

LOWEST_STATIC = 1024

_DOMAIN = re.compile(r"(\*?\.)?([a-z0-9]+(-+[a-z0-9]+)*\.)+[a-z0-9]*[a-z][a-z0-9]+")
_PORT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def check_network(field: str, said: str, task: Task, problems: Problems) -> None:
    """Add everything that is wrong with a task's network."""
    network, here, said = task.network, f"{field}.Network", f"{said}network validation failed: "
    check_choice(f"{here}.Type", network.type, NETWORKS, problems)
    too_many(f"{here}.Domains", len(network.domains), limits.DOMAINS, problems)
    too_many(f"{here}.Ports", len(network.ports), limits.PORTS, problems)
    if network.domains and network.type != "HTTP":
        message = f"{said}domains can only be set for HTTP network mode, not {network.type}"
        problems.add(f"{here}.Domains", network.domains, message, "write Type: HTTP, or leave Domains out")
    if network.type == "HTTP" and not network.domains:
        message = f"{said}at least one domain is required when HTTP networking is enabled"
        problems.add(f"{here}.Domains", network.domains, message, "write Domains: [example.com], or Type: None")
    for place, domain in enumerate(network.domains):
        if len(domain) > limits.NAME or not (_DOMAIN.fullmatch(domain) or _is_address(domain)):
            problems.add(f"{here}.Domains[{place}]", domain, f'{said}invalid domain "{domain[:80]}"')
    if network.ports and network.type in ("None", "HTTP"):
        message = f"{said}ports need the network Host or Bridge, not {network.type}"
        problems.add(f"{here}.Ports", network.ports, message)
    bridged = network.type == "Bridge" or (network.type == "Default" and engine_kind(task.engine.type) == "podman")
    for place, port in enumerate(network.ports):
        _check_port(f"{here}.Ports[{place}]", said, port, bridged=bridged, problems=problems)
    _check_unique(here, said, network, problems)


def _check_port(here: str, said: str, port: Port, *, bridged: bool, problems: Problems) -> None:
    if not _PORT_NAME.fullmatch(port.name):
        message = f"{said}'{port.name[:80]}' cannot name a port"
        problems.add(f"{here}.Name", port.name, message, "use letters, digits and _; no digit first")
    if port.static and not LOWEST_STATIC <= port.static <= 65535:
        message = f"{said}static port {port.static} is not between {LOWEST_STATIC} and 65535"
        problems.add(f"{here}.Static", port.static, message, "leave Static out to get a free port")
    if port.target and not 1 <= port.target <= 65535:
        problems.add(f"{here}.Target", port.target, f"{said}target port {port.target} is not between 1 and 65535")
    if port.target and not bridged:
        message = f"{said}target port {port.target} can only be set for Bridge network mode"
        problems.add(f"{here}.Target", port.target, message, "leave Target out, or write Type: Bridge")
    if port.host_network and not _is_address(port.host_network):
        message = f"{said}HostNetwork '{port.host_network[:80]}' is not an address"
        problems.add(f"{here}.HostNetwork", port.host_network, message, "write an address of the node as 127.0.0.1")


def _check_unique(here: str, said: str, network: Network, problems: Problems) -> None:
    names: set[str] = set()
    statics: set[int] = set()
    targets: set[int] = set()
    for place, port in enumerate(network.ports):
        # Names end variables, as in TENDER_PORT_web; two that differ by case only would be mixed up.
        name = port.name.upper()
        if name in names:
            problems.add(f"{here}.Ports[{place}].Name", port.name, f"{said}port name '{port.name[:80]}' already exists")
        if port.static and port.static in statics:
            message = f"{said}static port {port.static} already exists"
            problems.add(f"{here}.Ports[{place}].Static", port.static, message)
        if port.target and port.target in targets:
            message = f"{said}target port {port.target} already exists"
            problems.add(f"{here}.Ports[{place}].Target", port.target, message)
        names.add(name)
        statics.add(port.static)
        targets.add(port.target)


def _is_address(text: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False
