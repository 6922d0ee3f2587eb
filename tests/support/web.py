"""A small HTTP server whose answers a test scripts, and a TCP link that can be held in the middle."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from tests.support.served_port import served_port

Script = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of an HTTP/1.1 answer; header names are written with `_` for `-`."""
    named = {"Content_Length": str(len(body)), "Connection": "close"} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


class WebServer:
    """Serves `pages` (whole answers by path) and `scripts` (coroutines by path); counts requests."""

    def __init__(self) -> None:
        self.pages: dict[str, list[bytes]] = {}
        self.scripts: dict[str, Script] = {}
        self.asked: list[str] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ", 2)[1]
            self.asked.append(path)
            if path in self.scripts:
                await self.scripts[path](head, writer)
            else:
                pages = self.pages.get(path) or self.pages.get("*") or [answer("404 Not Found")]
                writer.write(pages.pop(0) if len(pages) > 1 else pages[0])
            await writer.drain()


@contextlib.asynccontextmanager
async def web_server() -> AsyncGenerator[WebServer]:
    """A server on a free port of 127.0.0.1."""
    site = WebServer()
    async with served_port(site.handle) as port:
        site.url = f"http://127.0.0.1:{port}"
        yield site


class Link:
    """A TCP link to another port that passes bytes until `gate` of them went up, then holds."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self.gate: int | None = None
        self.sent = 0
        self.held = asyncio.Event()
        self.port = 0

    def hold_after(self, count: int) -> None:
        """Let `count` more bytes up, then no more; `held` is set when it comes to that."""
        self.gate = self.sent + count
        self.held.clear()

    def release(self) -> None:
        """Let everything through again."""
        self.gate = None
        self._open.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            above, below = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(above, writer))
                    pumps.create_task(self._pump(reader, below, count=True))
            finally:
                below.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(64 * 1024):
                if count:
                    self.sent += len(data)
                    if self.gate is not None and self.sent > self.gate:
                        self._open.clear()
                        self.held.set()
                    await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def link_to(port: int) -> AsyncGenerator[Link]:
    """A link on a free port of 127.0.0.1 to `port`."""
    link = Link(port)
    async with served_port(link.accept) as link.port:
        yield link


def held_page(site: WebServer, path: str, body: bytes) -> asyncio.Event:
    """A page that answers only once the event is set."""
    may = asyncio.Event()

    async def script(_: str, writer: asyncio.StreamWriter) -> None:
        await may.wait()
        writer.write(answer("200 OK", body))

    site.scripts[path] = script
    return may
