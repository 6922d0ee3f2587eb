"""A tiny MQTT 5 broker over TLS that does what a test tells it to: caps, refusals, floods, silence."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from hub.pki import Pki
from tests.support.broker import client_context, issue
from tests.support.served_port import served_port

CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8
NOT_AUTHORIZED = 0x87


def packet(kind: int, body: bytes) -> bytes:
    length, left = b"", len(body)
    while True:
        left, digit = divmod(left, 128)
        length += bytes([digit | (0x80 if left else 0)])
        if not left:
            return bytes([kind]) + length + body


def message(topic: str, payload: bytes) -> bytes:
    """A PUBLISH of QoS 0."""
    name = topic.encode()
    return packet(PUBLISH << 4, len(name).to_bytes(2, "big") + name + b"\0" + payload)


class ScriptedBroker:
    """Lets everybody in and confirms everything, until a test sets one of its fields."""

    def __init__(self, folder: Path) -> None:
        self._pki = Pki(folder / "pki")
        self._folder = folder
        self.port = 0
        self.largest = 0
        """Bytes of the largest packet that it says it takes; 0 to say nothing."""
        self.at_once = 0
        """Messages that it says it takes before it has confirmed them; 0 to say nothing. It then takes its time."""
        self.unconfirmed = self.most_unconfirmed = 0
        self.ignores: set[int] = set()
        """Kinds of packets that it does not answer."""
        self.connects = 0
        self.published: list[bytes] = []
        self.code_of: Callable[[bytes], int] = lambda _: 0
        self.on_first_subscribe = self.on_subscribe = b""

    def context(self, name: str) -> ssl.SSLContext:
        return client_context(self._pki, issue(self._pki, self._folder, name))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                kind, body = await _packet(reader)
                self._answer(kind, body, writer)
                await writer.drain()

    def _answer(self, kind: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.connects += kind >> 4 == CONNECT
        match kind >> 4:
            case ignored if ignored in self.ignores:
                pass
            case 1:
                caps = b"\x27" + self.largest.to_bytes(4, "big") if self.largest else b""
                caps += b"\x21" + self.at_once.to_bytes(2, "big") if self.at_once else b""
                writer.write(packet(0x20, b"\0\0" + bytes([len(caps)]) + caps))
            case 8:
                writer.write(packet(0x90, body[:2] + b"\0" + b"\1" * body.count(b"/filter")))
                writer.write(self.on_first_subscribe or self.on_subscribe)
                self.on_first_subscribe = b""
            case 3:
                size = int.from_bytes(body[:2], "big") + 2
                topic, mid = body[2:size], body[size : size + 2]
                self.published.append(topic)
                self._confirm(packet(0x40, mid + bytes([self.code_of(topic), 0])), writer)
            case 12:
                writer.write(packet(0xD0, b""))
            case _:
                pass

    def _confirm(self, answer: bytes, writer: asyncio.StreamWriter) -> None:
        if not self.at_once:
            writer.write(answer)
            return

        def slowly() -> None:
            self.unconfirmed -= 1
            writer.write(answer)

        self.unconfirmed += 1
        self.most_unconfirmed = max(self.most_unconfirmed, self.unconfirmed)
        asyncio.get_running_loop().call_later(0.01, slowly)


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind, size, shift = (await reader.readexactly(1))[0], 0, 0
    while True:
        digit = (await reader.readexactly(1))[0]
        size |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return kind, await reader.readexactly(size)


@contextlib.asynccontextmanager
async def scripted_broker(folder: Path) -> AsyncGenerator[ScriptedBroker]:
    """One on a free port of 127.0.0.1. Filters of its clients end in `/filter`."""
    broker = ScriptedBroker(folder)
    credentials = Pki(folder / "pki").server("broker", ())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(credentials.certificate, credentials.key)
    async with served_port(broker.serve, context) as broker.port:
        yield broker
