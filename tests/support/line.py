"""A thin line with one queue: what several connections send upwards waits behind each other, as in a modem."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator

from tests.support.served_port import served_port

PIECE = 16 * 1024


class Line:
    """`rate` bytes a second go up, over all connections; `room` bytes wait in its queue before senders are held."""

    def __init__(self, rate: int, room: int) -> None:
        self._rate, self._room = rate, room
        self._queue: deque[tuple[asyncio.StreamWriter, bytes]] = deque()
        self._waiting = 0
        self._changed = asyncio.Condition()
        self.carried = 0

    async def send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Put at the end of the queue, as soon as there is room."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting < self._room)
            self._queue.append((writer, data))
            self._waiting += len(data)
            self._changed.notify_all()

    async def run(self) -> None:
        """Carry for ever; returns only by cancellation."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._queue))
                writer, data = self._queue.popleft()
            await asyncio.sleep(len(data) / self._rate)
            writer.write(data)
            self.carried += len(data)
            async with self._changed:
                self._waiting -= len(data)
                self._changed.notify_all()

    @contextlib.asynccontextmanager
    async def to(self, target: int) -> AsyncGenerator[int]:
        """A port from which the line leads to the port `target`; what comes down is not slowed."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                above, below = await asyncio.open_connection("127.0.0.1", target)
                try:
                    async with asyncio.TaskGroup() as ways:
                        ways.create_task(self._up(reader, below))
                        ways.create_task(_down(above, writer))
                finally:
                    below.transport.abort()
            except (OSError, ExceptionGroup, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(task)
                writer.transport.abort()

        async with served_port(accept) as port:
            yield port
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            await self.send(writer, data)
        raise ConnectionResetError


async def _down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * 1024):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


@contextlib.asynccontextmanager
async def thin_line(rate: int, room: int) -> AsyncGenerator[Line]:
    """A line that carries."""
    line = Line(rate, room)
    carrying = asyncio.create_task(line.run())
    try:
        yield line
    finally:
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)
