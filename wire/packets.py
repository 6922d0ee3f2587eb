"""What goes over a link, and how a link is to be opened: plain values that know no library."""

import ssl

import msgspec

from wire.failures import TenderError
from wire.names import Names


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One message from the broker."""

    topic: str
    payload: bytes
    retained: bool


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One message for the broker. `expiry` in seconds. `bulk` waits for its turn, so that all else passes it."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry: int | None = None
    bulk: bool = False


class PublishRefused(TenderError):
    """The broker answered a publish with a reason code of failure; sending it again would not help."""

    code = "PublishRefused"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to connect. Times in seconds. `in_flight` bounds unacknowledged publishes.

    `canaries` are topics that we may write and ought to hear; one of them is tried every `canary_each`, 0 for never.
    """

    hosts: list[tuple[str, int]]
    client_id: str
    tls: ssl.SSLContext
    filters: list[str]
    keepalive: int = 300
    session_expiry: int = 86_400
    in_flight: int = 20
    timeout: float = 10.0
    max_packet: int = 262_144
    will_delay: int = 30
    canaries: list[str] = []
    canary_each: float = 0.0
    names: Names = msgspec.field(default_factory=Names)
