"""What the tables of webhooks hold, as values."""

from enum import StrEnum

import msgspec

EVERYWHERE = "*"
"""The namespace of a webhook that is told of all namespaces."""


class WebhookState(StrEnum):
    """`paused` keeps what is to be told, `disabled` lets go of it."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class DeliveryState(StrEnum):
    """`waiting` is tried, again if need be; the others are final."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class Filter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which ends are told; an empty list is all. A job has to have every label."""

    states: list[str] = []
    types: list[str] = []
    labels: dict[str, str] = {}

    def fits(self, state: str, kind: str, labels: dict[str, str]) -> bool:
        """Whether the end of a job of this type, in this state and with these labels is told."""
        return (
            (not self.states or state in self.states)
            and (not self.types or kind in self.types)
            and all(labels.get(name) == value for name, value in self.labels.items())
        )


class WebhookRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook. Secrets are sealed; times in unix nanoseconds, 0 for none. `failures`: since the last success."""

    id: str
    namespace: str
    url: str
    filter: Filter
    secret: bytes
    state: WebhookState = WebhookState.ACTIVE
    message: str = ""
    old_secret: bytes | None = None
    old_until: int = 0
    failures: int = 0
    failing_since: int = 0
    created: int = 0
    modified: int = 0


class Numbers(msgspec.Struct, frozen=True):
    """How many deliveries of a webhook wait, ended, and were dropped because too many waited."""

    waiting: int = 0
    ended: int = 0
    dropped: int = 0


class DeliveryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell one webhook. `body` are the exact bytes, gone when it is over; `status` the last answer's."""

    id: str
    webhook_id: str
    type: str
    job_id: str
    body: bytes
    state: DeliveryState
    tries: int
    due: int
    status: int
    message: str
    created: int
    modified: int


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What a try made of a delivery."""

    state: DeliveryState
    due: int
    status: int
    message: str
