"""The domains that a job may reach, by Bacalhau's rule: a name is itself, `.name` also everything below it. Pure."""

import ipaddress
from collections.abc import Iterable


class Domains:
    """A list of names and addresses. `.example.com` and `*.example.com` cover example.com and all its subdomains."""

    def __init__(self, listed: Iterable[str]) -> None:
        self._exact: set[str] = set()
        self._below: set[str] = set()
        for entry in listed:
            name = plain(entry.removeprefix("*"))
            if name.startswith("."):
                self._below.add(name)
            elif name:
                self._exact.add(name)

    def cover(self, host: str) -> bool:
        """Whether the list has it. An address is covered only when it is listed itself."""
        name = plain(host)
        if name in self._exact:
            return True
        return not is_address(name) and any(("." + name).endswith(suffix) for suffix in self._below)


def plain(host: str) -> str:
    """As it is compared: lower case, no dot at the end, an address in its one spelling."""
    name = host.strip().lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return name


def is_address(host: str) -> bool:
    """Whether it names a machine by number; also in the old spellings that a resolver would take for one."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        return last.isdigit() or last.startswith("0x")
    return True
