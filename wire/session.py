"""One MQTT connection over aiomqtt, bypassed where it drops what we need: flags, reason codes, manual acks.

The library's automatic acknowledgement, its queues and its reconnect are switched off: a publish counts when
the broker's PUBACK says success.
"""

import asyncio
import contextlib
import functools
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from wire import failpoints
from wire.failures import Unavailable
from wire.mqtt_client import Client
from wire.packets import Options, Outgoing, Packet, PublishRefused

log = logging.getLogger(__name__)
MAX_PACKET = 268_435_455
"""Bytes of a packet by the protocol, where the broker names no cap of its own."""
HEADER = 32
"""Bytes that fixed header, lengths, message id and properties add to topic and payload."""
SLOWEST = 4096
"""Bytes a second: what has to be waited for longer than this is not waited for at all."""
MOST_EXTRA = 60.0
"""Seconds that a confirmation may take longer because of what is on its way before it."""
UNREAD = 1000
"""Packets of QoS 0 that may wait for the handler. Those of QoS 1 are bounded by our Receive Maximum."""


class Session:
    """One connection. Wraps aiomqtt where it drops what we need (flags, reason codes, manual ack)."""

    def __init__(self, options: Options, host: str, port: int, will: Outgoing) -> None:
        self._options, self._host, self._port = options, host, port
        self._client = Client(
            host,
            port,
            identifier=options.client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            keepalive=options.keepalive,
            timeout=options.timeout,
            tls_context=options.tls,
            properties=_properties(
                PacketTypes.CONNECT,
                SessionExpiryInterval=options.session_expiry,
                ReceiveMaximum=max(20, options.in_flight),
                MaximumPacketSize=options.max_packet,
            ),
            will=aiomqtt.Will(
                will.topic,
                will.payload,
                qos=1,
                retain=True,
                properties=_properties(PacketTypes.WILLMESSAGE, WillDelayInterval=options.will_delay),
            ),
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            max_inflight_messages=options.in_flight,
            logger=log,
        )
        self._paho: Any = self._client.paho
        self._incoming: deque[tuple[Packet, int]] = deque()
        self._arrived = asyncio.Event()
        self._pending: dict[int, asyncio.Future[None]] = {}
        self._early: dict[int, Any] = {}
        self._slots = asyncio.Semaphore(options.in_flight)
        self._largest = MAX_PACKET
        self._flying = 0
        self._resting = False
        self.session_present = False
        self._hook()

    def _hook(self) -> None:
        self._client.bound(self._options.max_packet)
        self._paho.connect_timeout = self._options.timeout  # paho gives a TLS handshake 5 s, whatever the link
        self._paho.manual_ack_set(True)  # noqa: FBT003  paho's own signature
        self._paho.on_message = self._on_message
        self._paho.on_publish = self._on_publish
        connected: Callable[..., None] = self._paho.on_connect
        disconnected: Callable[..., None] = self._paho.on_disconnect

        def on_connect(client: Any, userdata: Any, flags: Any, code: Any, properties: Any = None) -> None:
            self.session_present = bool(flags.session_present)
            limit = getattr(properties, "ReceiveMaximum", None)
            if limit is not None and limit < self._options.in_flight:
                self._slots = asyncio.Semaphore(limit)
            self._largest = getattr(properties, "MaximumPacketSize", MAX_PACKET)
            connected(client, userdata, flags, code, properties)

        def on_disconnect(*arguments: Any) -> None:
            disconnected(*arguments)
            self._arrived.set()

        self._paho.on_connect = on_connect
        self._paho.on_disconnect = on_disconnect

    @property
    def largest(self) -> int:
        """Bytes of the largest packet that the broker takes; known once the session is open."""
        return self._largest

    def open(self) -> contextlib.AbstractAsyncContextManager["Session"]:
        return self._opened()

    @contextlib.asynccontextmanager
    async def _opened(self):  # noqa: ANN202  the context manager type is in `open`
        names = self._options.names
        try:
            self._client.reach(await names.addresses(self._host, self._port), self._options.tls)
            async with self._client:
                self._client.lost.add_done_callback(lambda _: self._arrived.set())
                await self._subscribe()
                heed_cancellation()
                await names.worked(self._host, self._client.peer)
                yield self
        finally:
            self._client.close()

    async def _subscribe(self) -> None:
        codes = await self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._options.filters])
        refused = [f for f, code in zip(self._options.filters, codes, strict=False) if value_of(code) >= 0x80]
        if refused:
            raise aiomqtt.MqttError(f"the broker refused the subscription to {', '.join(refused)}")

    async def take(self) -> list[tuple[Packet, int]]:
        """All that has arrived, at least one message. Raises MqttError when the link is lost."""
        while not self._incoming:
            lost = self._client.lost
            if lost.done():
                raise aiomqtt.MqttError("the connection was lost") from (lost.exception() or None)
            if self._resting:
                raise aiomqtt.MqttError("closed, as it was asked for")
            self._arrived.clear()
            if not self._incoming and not lost.done() and not self._resting:
                await self._arrived.wait()
        batch = list(self._incoming)
        self._incoming.clear()
        return batch

    def rest(self) -> None:
        """Close in good order, once what has arrived is handled and acknowledged: no will is needed."""
        self._resting = True
        self._arrived.set()

    def ack(self, mid: int) -> None:
        if mid:
            failpoints.at("acknowledge.before")
            self._paho.ack(mid, 1)
            failpoints.at("acknowledge.after")

    async def publish(self, message: Outgoing) -> None:
        if len(message.payload) + len(message.topic) + HEADER > self._largest:
            # The broker would end the session for it, again and again.
            raise PublishRefused(f"{message.topic}: {len(message.payload)} bytes are over the broker's {self._largest}")
        properties = None
        if message.expiry is not None:
            properties = _expiring(message.expiry)
        async with self._slots:
            failpoints.at("publish.before")
            info = self._paho.publish(message.topic, message.payload, message.qos, message.retain, properties)
            if info.rc != 0:
                raise Unavailable(f"the message could not be sent: code {info.rc}")
            if message.qos == 0:
                return
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if info.mid in self._early:
                _settle(done, self._early.pop(info.mid))
            else:
                self._pending[info.mid] = done
            failpoints.at("publish.sent")
            await self._confirmed(info.mid, done, message)
            failpoints.at("publish.confirmed")

    async def _confirmed(self, mid: int, done: "asyncio.Future[None]", message: Outgoing) -> None:
        size = len(message.payload)
        self._flying += size
        patience = self._options.timeout + min(MOST_EXTRA, self._flying / SLOWEST)
        try:
            async with asyncio.timeout(patience):
                await done
        except TimeoutError:
            # The library would send it again after the next connect; a new session object makes sure it does not.
            self.lose()
            raise Unavailable(f"the broker did not confirm {message.topic} in {patience:.0f} s") from None
        finally:
            self._flying -= size
            self._pending.pop(mid, None)

    def fail_pending(self) -> None:
        """The link is gone: whoever waits for a confirmation hears so now."""
        for future in self._pending.values():
            if not future.done():
                future.set_exception(Unavailable("the link was lost before the broker confirmed"))
        self._pending.clear()

    def lose(self) -> None:
        """Give the connection up without a goodbye, so that the will stands until the next birth."""
        self._client.lose()

    def _on_message(self, _client: Any, _userdata: Any, message: Any) -> None:
        if not message.qos and len(self._incoming) >= UNREAD:
            return  # whoever floods us without waiting for acknowledgements is not one of ours
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.lose()
            return
        packet = Packet(topic, bytes(message.payload), bool(message.retain))
        self._incoming.append((packet, message.mid if message.qos else 0))
        self._arrived.set()

    def _on_publish(self, _client: Any, _userdata: Any, mid: int, code: Any, _properties: Any) -> None:
        future = self._pending.get(mid)
        if future is None:
            # PUBACK can be read inside publish() before the caller knows the message id.
            self._early[mid] = code
            if len(self._early) > 1000:
                self._early.clear()
        else:
            _settle(future, code)


def heed_cancellation() -> None:
    """End what was cancelled: `wait_for` in aiomqtt swallows that on Python 3.11 if the broker answers just then."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _settle(future: "asyncio.Future[None]", code: Any) -> None:
    if future.done():
        return
    # 0x10 says that nobody subscribes now; retained documents and offline sessions make that ordinary.
    if value_of(code) >= 0x80:
        future.set_exception(PublishRefused(f"the broker refused the message: {code}", details={"code": str(code)}))
    else:
        future.set_result(None)


def value_of(code: Any) -> int:
    return int(getattr(code, "value", code))


def _properties(kind: int, **values: Any) -> Properties:
    properties = Properties(kind)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


@functools.lru_cache(maxsize=32)
def _expiring(seconds: int) -> Properties:
    """Publish properties, made once for each of the few expiries: the library only reads them."""
    return _properties(PacketTypes.PUBLISH, MessageExpiryInterval=seconds)
