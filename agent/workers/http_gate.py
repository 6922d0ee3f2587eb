"""Opens connections for the proxy: only to listed domains, only to addresses that the owner lets jobs reach."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.executors.http_network import Way
from agent.steps.domains import Domains, is_address
from wire.addresses import AddressPolicy

LOOK_UP, CONNECT = 10.0, 10.0
MAX_ADDRESSES = 4
READ_CAP = 64 * 1024
LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Target:
    """Where a request wants to go; `tunnel` for CONNECT."""

    host: str
    port: int
    tunnel: bool = False


class Refused(Exception):
    """What the work is answered instead of a connection."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


async def look_up(host: str, port: int) -> Sequence[str]:
    """Addresses of a host, in the order in which they are to be tried."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Gate:
    """Decides and connects in one act: the address that was checked is the one that is connected to."""

    def __init__(self, way: Way, look_up: LookUp = look_up) -> None:
        self._domains, self._policy, self._look_up = Domains(way.domains), AddressPolicy(way.allow), look_up

    async def open(self, target: Target) -> Connection:
        """A connection to the target. Raises Refused."""
        self.check(target)
        addresses = await self._addresses(target)
        allowed = [address for address in addresses if self._policy.permits(target.host, address)]
        if not allowed:
            message = f"{target.host} has no public address, and the owner of this node has not allowed it"
            raise Refused(403, "address-not-allowed", message)
        for address in allowed[:MAX_ADDRESSES]:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT):
                    return await asyncio.open_connection(address, target.port, limit=READ_CAP)
        raise Refused(502, "no-connection", f"{target.host}:{target.port} does not take connections")

    def check(self, target: Target) -> None:
        """What can be said without looking the name up. Raises Refused."""
        if target.tunnel and is_address(target.host):
            message = f"a tunnel is opened to a name, not to the address {target.host}"
            raise Refused(403, "tunnel-to-address", message)
        if not self._domains.cover(target.host):
            raise Refused(403, "domain-not-listed", f"{target.host} is not among the Domains of this job")
        # As squid has it: no tunnel into mail, remote shells and the like.
        if not (target.port in {80, 443} or 1024 <= target.port <= 65535):
            raise Refused(403, "port-not-allowed", f"port {target.port} is not one of the web")

    async def _addresses(self, target: Target) -> Sequence[str]:
        try:
            async with asyncio.timeout(LOOK_UP):
                return await self._look_up(target.host, target.port)
        except (OSError, TimeoutError, UnicodeError):
            raise Refused(502, "unknown-host", f"{target.host} cannot be looked up on this node") from None
