"""The network HTTP of containers: no way out but a proxy on the node, which knows the job's domains."""

import importlib.util
import os
from pathlib import Path

import msgspec

HOST, PORT = "127.0.0.1", 3128
"""Where the work finds the proxy: on the loopback of its own network namespace."""
ENFORCED = "enforced"
CAP_SYS_ADMIN = 21


class Way(msgspec.Struct, frozen=True):
    """What the proxy of one execution lets through: the job's domains, and what the owner allows beside the public."""

    domains: list[str] = []
    allow: list[str] = []


class ProxyOrder(msgspec.Struct, frozen=True):
    """Serve the work whose first process is `pid` until that ends. `lock` is held meanwhile."""

    pid: int
    lock: str
    way: Way


class ProxyAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The proxy listens; or why it does not."""

    ready: bool
    why: str = ""


def variables() -> dict[str, str]:
    """By which programs find the proxy, in both spellings that are in use."""
    address, here = f"http://{HOST}:{PORT}", "localhost,127.0.0.1"
    names = {"http_proxy": address, "https_proxy": address, "no_proxy": here}
    return names | {name.upper(): value for name, value in names.items()}


def enforcement(socket: str, *, rootless: bool) -> str:
    """`enforced`, or why this box cannot hold a container to a list of domains."""
    if importlib.util.find_spec("h11") is None:
        return "h11 is not installed"
    if os.geteuid() == 0:
        return ENFORCED if _may_enter() else "the agent may not enter network namespaces (CAP_SYS_ADMIN)"
    if not rootless:
        return "Podman runs as root and the agent does not"
    try:
        owner = Path(socket).stat().st_uid
    except OSError as error:
        return f"{socket} cannot be looked at: {error.strerror}"
    return ENFORCED if owner == os.geteuid() else "Podman runs as another user than the agent"


def _may_enter() -> bool:
    """Whether this process has the capability that setns asks for."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return False
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> CAP_SYS_ADMIN & 1)
    return False
