"""The proxy of one container: `python -m agent.workers.http_proxy`, its order on stdin, one line of answer on stdout.

It serves the work until that ends, whoever else dies meanwhile: the driver, the agent, Podman's service.
"""

import asyncio
import fcntl
import importlib
import os
import resource
import select
import socket
import sys
from dataclasses import dataclass

import msgspec

from agent.executors.http_network import HOST, PORT, ProxyAnswer, ProxyOrder
from agent.workers.http_exchange import Exchange
from agent.workers.http_gate import READ_CAP, Gate, Refused, Target
from agent.workers.namespaces import NotEntered, listener_in

ORDER_CAP = 256 * 1024
CONNECTIONS = 64
"""At a time; more are told to come again."""
TOLD = 200
"""Refusals that are written down; more are only counted."""
NOBODY = 65534
LATE = ("concurrent.futures.thread", "encodings.idna")
"""What Python loads when it is first wanted; by then this process may not read it any more."""


@dataclass
class Proxy:
    """How many connections are open now, and how many were refused."""

    gate: Gate
    open: int = 0
    refusals: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called for each connection."""
        if self.open >= CONNECTIONS:
            writer.write(b"HTTP/1.1 503 busy\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 1\r\n\r\n")
            writer.close()
            return
        self.open += 1
        try:
            await Exchange(self.gate, (reader, writer), self._note).run()
        finally:
            self.open -= 1

    def _note(self, target: Target | None, refused: Refused) -> None:
        self.refusals += 1
        if self.refusals <= TOLD:
            where = f"{target.host[:200]}:{target.port}" if target else "?"
            print(f"refused {where}: {refused.code}", file=sys.stderr, flush=True)  # noqa: T201


def main() -> None:
    """Never leaves a listener behind without the rules: whatever fails, this process ends."""
    order = msgspec.json.decode(sys.stdin.buffer.read(ORDER_CAP), type=ProxyOrder)
    try:
        ended = os.pidfd_open(order.pid)
        _take_lock(order.lock)
        listener = listener_in(order.pid, HOST, PORT)
        for name in LATE:
            importlib.import_module(name)
        _drop_rights()
    except (OSError, NotEntered) as error:
        _say(ProxyAnswer(ready=False, why=str(error)[:300]))
        return
    _say(ProxyAnswer(ready=True))
    if not select.select([ended], [], [], 0)[0]:
        asyncio.run(_serve(Proxy(Gate(order.way)), listener, ended))


async def _serve(proxy: Proxy, listener: socket.socket, ended: int) -> None:
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.add_reader(ended, lambda: over.done() or over.set_result(None))
    server = await asyncio.start_server(proxy.serve, sock=listener, limit=READ_CAP)
    await over
    loop.remove_reader(ended)
    server.close()


def _take_lock(path: str) -> None:
    """Held until this process ends, however it ends: one proxy for one execution."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _drop_rights() -> None:
    """From here on it reads what the work and strange servers write, and needs no right to anything."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def _say(answer: ProxyAnswer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()
    # Whoever started us may be gone long before us.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


if __name__ == "__main__":
    main()
