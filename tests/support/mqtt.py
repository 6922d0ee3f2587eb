"""A plain MQTT 5 client for tests that look at the broker itself: reason codes of publishes, and what arrives."""

import asyncio
import socket
import ssl
from typing import Any

import aiomqtt  # noqa: TID251  tests of the broker speak to it without our link

from wire.session import heed_cancellation


class PlainClient(aiomqtt.Client):
    """aiomqtt's client, plus the PUBACK codes that it throws away."""

    def __init__(self, port: int, context: ssl.SSLContext, client_id: str) -> None:
        super().__init__(
            "localhost",
            port,
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            tls_context=context,
            timeout=60,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        self._codes: dict[int, int] = {}
        library: Any = self._client
        library.connect_timeout = 60  # for the handshake, which a busy machine answers late
        inner = library.on_publish

        def published(client: Any, userdata: Any, mid: int, code: Any, properties: Any) -> None:
            self._codes[mid] = code.value
            inner(client, userdata, mid, code, properties)

        library.on_publish = published

    async def publish(self, *args: Any, **named: Any) -> None:
        """As the library's, but whoever is cancelled while it waits is: see `heed_cancellation`."""
        await super().publish(*args, **named)
        heed_cancellation()

    async def code_of(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Publish at QoS 1 and return the broker's reason code: 0 or 16 for taken, 135 for forbidden."""
        self._codes.clear()
        await self.publish(topic, payload, qos=1, retain=retain)
        return self._codes.popitem()[1]

    async def until(self, last: bytes) -> list[tuple[str, bytes]]:
        """All that arrives before the message with payload `last`."""
        found: list[tuple[str, bytes]] = []
        async with asyncio.timeout(60):
            async for message in self.messages:
                if message.payload == last:
                    return found
                found.append((str(message.topic), bytes(message.payload)))  # pyright: ignore[reportArgumentType]
        raise AssertionError("the stream ended")
