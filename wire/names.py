"""Where a broker's name leads: looked up beside the loop, with a deadline, and remembered for when nobody answers.

Certificates are checked by the name however its address was found, so a remembered or wrong one costs a try at most.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from wire.files.wholefile import write_whole

log = logging.getLogger(__name__)
DEADLINE = 5.0
"""Seconds for one answer of the name server."""
MOST = 8
"""Addresses of one name that are tried."""
_CAP = 64 * 1024
LookUp = Callable[[str, int], list[str]]


def look_up(host: str, port: int) -> list[str]:
    """All addresses of a host, in the order of the system's preference. Blocks; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[4][0]) for place in found]


class Names:
    """Finds addresses. `file` keeps, over restarts, the last one of each name that led to a session."""

    def __init__(self, file: Path | None = None, *, ask: LookUp = look_up, deadline: float = DEADLINE) -> None:
        self._file, self._ask, self._deadline = file, ask, deadline
        self._good = _read(file)
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """What to try, best first: what the name server says, and the last good one. Raises OSError for nothing."""
        if _is_address(host):
            return [host]
        good, error = self._good.get(host), OSError(f"no name server told the address of {host} in time")
        found: list[str] = []
        try:
            async with asyncio.timeout(self._deadline):
                found = await asyncio.shield(self._answer(host, port))
        except TimeoutError:
            log.info("%s", error)
        except (OSError, UnicodeError, RuntimeError) as failure:
            error = OSError(f"the address of {host}: {failure}")
        tried = found[:MOST]
        if good is not None and good not in tried:
            tried.append(good)
        if not tried:
            raise error
        return tried

    async def worked(self, host: str, address: str) -> None:
        """A session was opened there."""
        if _is_address(host) or self._good.get(host) == address:
            return
        self._good[host] = address
        if self._file is not None:
            try:
                await asyncio.to_thread(write_whole, self._file, msgspec.json.encode(self._good))
            except OSError as error:
                log.warning("the address of %s cannot be kept: %s", host, error)

    def _answer(self, host: str, port: int) -> "asyncio.Future[list[str]]":
        """The lookup that runs, or a new one: a name server that is silent holds one thread, not one for each try."""
        running = self._asked.get(host)
        if running is None or running.done():
            loop = asyncio.get_running_loop()
            running = self._asked[host] = loop.create_future()
            running.add_done_callback(lambda done: done.cancelled() or done.exception())
            # A thread of its own, which the end of the process does not wait for.
            work = threading.Thread(
                target=_work, args=(loop, running, lambda: self._ask(host, port)), name="names", daemon=True
            )
            work.start()
        return running


def _work(loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[list[str]]", ask: Callable[[], list[str]]) -> None:
    def tell(setter: Callable[[Any], None], value: Any) -> None:
        if not answer.done():
            setter(value)

    try:
        found = ask()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, answer.set_result, found)
    except (OSError, UnicodeError) as error:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, answer.set_exception, error)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _read(file: Path | None) -> dict[str, str]:
    """What was kept; nothing when it cannot be read, because it only saves a lookup."""
    if file is None:
        return {}
    try:
        with file.open("rb") as kept:
            return msgspec.json.decode(kept.read(_CAP), type=dict[str, str])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
