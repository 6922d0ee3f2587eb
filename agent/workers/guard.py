"""Keeps every connection of this process inside the address policy of the order under way.

Looking a name up, checking what was found and connecting to it must be one act, or a name server
answers the check with one address and the connection with another. All libraries in here look names
up through `socket.getaddrinfo` and connect to what it returned, so the check stands there; it also
sees addresses written as numbers, and every redirect.
"""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from wire.addresses import AddressPolicy, refused
from wire.failures import ExecutionFailed

_look_up = socket.getaddrinfo


@contextmanager
def guarded(policy: AddressPolicy) -> Generator[None]:
    """Refuse all connections that `policy` does not permit while the block runs."""

    def checked(host: Any, *rest: Any, **named: Any) -> list[Any]:
        found = _look_up(host, *rest, **named)
        name = host.decode() if isinstance(host, bytes) else str(host)
        for *_, address in found:
            if not policy.permits(name, str(address[0])):
                raise refused(name, str(address[0]))
        return found

    socket.getaddrinfo = checked
    try:
        yield
    finally:
        socket.getaddrinfo = _look_up


def refusal_in(fault: BaseException | None) -> ExecutionFailed | None:
    """The refusal that a library wrapped into an error of its own, if there is one."""
    seen: set[int] = set()
    while fault is not None and id(fault) not in seen:
        if isinstance(fault, ExecutionFailed):
            return fault
        seen.add(id(fault))
        fault = fault.__cause__ or fault.__context__
    return None
