"""Host ports for executions: the static ones that a job names, or free ones from a range."""

import errno
import itertools
import socket
from collections.abc import Iterable, Mapping

from agent.executors.base import Port
from wire.failures import ExecutionFailed, Reason
from wire.jobs import job

FIRST, LAST = 20_000, 32_000
"""Bacalhau's range."""


class Ports:
    """Gives ports out and knows which are given; the caller says when an execution needs its own no more."""

    def __init__(self) -> None:
        self._given: dict[str, set[int]] = {}
        self._next = itertools.cycle(range(FIRST, LAST))

    def restore(self, given: Mapping[str, Iterable[str]]) -> None:
        """What work that goes on has from before a restart."""
        self._given = {execution_id: {int(number) for number in numbers} for execution_id, numbers in given.items()}

    @property
    def used(self) -> frozenset[int]:
        """All ports that executions have now."""
        return frozenset(number for ports in self._given.values() for number in ports)

    def give(self, execution_id: str, wanted: Iterable[job.Port], *, bridged: bool) -> list[Port]:
        """One host port for each wanted one. Raises ExecutionFailed when a static port is taken."""
        self.take_back(execution_id)
        given: list[Port] = []
        for port in wanted:
            number = port.static or self._free()
            if port.static and (self._taken(number) or not _can_bind(number)):
                message = f"port {number} ({port.name}) is taken on this node"
                raise ExecutionFailed(Reason("port-taken", message, "leave Static out to get a free port"))
            self._given.setdefault(execution_id, set()).add(number)
            given.append(Port(port.name, number, (port.target or number) if bridged else number, port.host_network))
        return given

    def take_back(self, execution_id: str) -> None:
        self._given.pop(execution_id, None)

    def _taken(self, number: int) -> bool:
        return any(number in ports for ports in self._given.values())

    def _free(self) -> int:
        for number in itertools.islice(self._next, LAST - FIRST):
            if not self._taken(number) and _can_bind(number):
                return number
        raise ExecutionFailed(Reason("no-port", f"no port between {FIRST} and {LAST} is free on this node"))


def _can_bind(number: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", number))  # noqa: S104  nothing listens; it only shows whether one could
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True
