"""A server of a test that leaves no connection behind, which would warn in whatever test comes next."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PATIENCE = 10.0
"""Most seconds until the last connection has ended."""


class _Guests:
    """Who is being served."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._here: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._here[task] = writer
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            del self._here[task]

    async def dismiss(self) -> None:
        for task in self._here:
            task.cancel()
        await asyncio.gather(*self._here, return_exceptions=True)


@contextlib.asynccontextmanager
async def served_port(serve: Serve, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncGenerator[int]:
    """Serve each connection to a port of 127.0.0.1, by default a free one, and yield that.

    Whoever is being served at the end is cut off.
    """
    guests = _Guests(serve)
    server = await asyncio.start_server(guests.welcome, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        # Before 3.12 a server that is closed first would not be waited for.
        ended = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0)
        server.close()
        await guests.dismiss()
        async with asyncio.timeout(PATIENCE):
            await ended
