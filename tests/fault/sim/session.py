"""The client's end of a connection to the modelled broker; stands in for `wire.session.Session`."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from tests.fault.sim.loop import PROCESS
from wire.failures import Unavailable
from wire.session import HEADER, Options, Outgoing, Packet, PublishRefused

LARGEST = 262_144


class SimSession:
    """What `wire.link.Link` needs of a connection."""

    def __init__(self, options: Options, host: str, port: int, will: Outgoing) -> None:
        del host, port
        process = PROCESS.get()
        assert process is not None
        self._options, self._will, self._process = options, will, process
        self._broker = process.broker
        self._client, self.keepalive = options.client_id, options.keepalive
        self._incoming: list[tuple[Packet, int]] = []
        self._arrived = asyncio.Event()
        self._pending: dict[asyncio.Future[None], None] = {}
        self._seen: set[int] = set()
        self._slots = asyncio.Semaphore(options.in_flight)
        self._lost: BaseException | None = None
        self.is_deaf = False
        self.session_present = False

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator["SimSession"]:
        await asyncio.sleep(self._broker.weather.latency * 4)
        self.session_present = self._broker.connect(self, self._client, self._will, self._options)
        self._process.sessions.append(self)
        try:
            await asyncio.sleep(self._broker.weather.latency)
            if self._lost is not None:
                raise self._lost
            self._broker.subscribed(self, self._client)
            yield self
        finally:
            self._process.sessions.remove(self)
            if self._lost is None and not self.is_deaf:
                self._broker.goodbye(self, self._client)

    async def take(self) -> list[tuple[Packet, int]]:
        while not self._incoming:
            if self._lost is not None:
                raise self._lost
            self._arrived.clear()
            await self._arrived.wait()
        batch, self._incoming = self._incoming, []
        return batch

    def ack(self, mid: int) -> None:
        if self._lost is None and not self.is_deaf:
            self._broker.acked(self, self._client, mid)

    async def publish(self, message: Outgoing) -> None:
        if len(message.payload) + len(message.topic) + HEADER > LARGEST:
            raise PublishRefused(f"{message.topic}: {len(message.payload)} bytes are over the broker's {LARGEST}")
        async with self._slots:
            if self._lost is not None:
                raise Unavailable("the message could not be sent")
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()
            self._pending[done] = None
            loop.call_later(self._broker.weather.latency, self._reach, message, done)
            try:
                await done
            except TimeoutError:
                self.lose()
                raise Unavailable(f"the broker did not confirm {message.topic}") from None
            finally:
                self._pending.pop(done, None)

    def _reach(self, message: Outgoing, done: "asyncio.Future[None]") -> None:
        """The message is at the broker; its word comes back later, if it still can."""
        loop = asyncio.get_running_loop()
        if self._lost is not None or self.is_deaf:
            loop.call_later(self._options.timeout, self._give_up, done)
            return
        self._broker.publish(self._client, message)
        loop.call_later(self._broker.weather.latency, self._confirm, done)

    def _confirm(self, done: "asyncio.Future[None]") -> None:
        if self._lost is not None or self.is_deaf:
            asyncio.get_running_loop().call_later(self._options.timeout, self._give_up, done)
        elif not done.done():
            done.set_result(None)

    def _give_up(self, done: "asyncio.Future[None]") -> None:
        """No word came in all that time."""
        if not done.done():
            done.set_exception(TimeoutError())

    def fail_pending(self) -> None:
        for future in self._pending:
            if not future.done():
                future.set_exception(Unavailable("the link was lost before the broker confirmed"))
                future.exception()  # whoever waits may have died, and will not ask
        self._pending.clear()

    def lose(self) -> None:
        """Give the connection up without a goodbye."""
        self.closed(ConnectionResetError("given up"))
        if not self.is_deaf:
            self._broker.dropped(self, self._client)

    # --- what the broker and the network do -----------------------------------------------------------

    def arrived(self, mid: int, packet: Packet) -> None:
        if self._lost is None and not self.is_deaf and mid not in self._seen:
            self._seen.add(mid)
            self._incoming.append((packet, mid))
            self._arrived.set()

    def closed(self, why: BaseException) -> None:
        if self._lost is None:
            self._lost = why
            self._arrived.set()

    def deaf(self) -> None:
        """The network swallows all, and nobody is told."""
        self.is_deaf = True

    def died(self) -> None:
        """The kernel closes the sockets of a process that was killed."""
        if self._lost is None:
            self._lost = ConnectionResetError("killed")
            if not self.is_deaf:
                self._broker.dropped(self, self._client)
