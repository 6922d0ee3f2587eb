"""The lines between the agent's core and its Podman driver child: one JSON request, one JSON answer."""

import msgspec

from agent.executors.base import Work
from agent.executors.http_network import Way
from wire.failures import Reason

LINE_CAP = 1024 * 1024
"""Longest line either side accepts."""


class Request(msgspec.Struct, frozen=True):
    """One call. `deadline` is in seconds and holds for each request to Podman that it makes."""

    id: int
    call: str
    deadline: float
    args: msgspec.Raw = msgspec.Raw(b"{}")


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the call with this id: a result, or the reason why there is none."""

    id: int
    result: msgspec.Raw = msgspec.Raw(b"{}")
    reason: Reason | None = None


class StartArgs(msgspec.Struct, frozen=True):
    """Start this work once. `grace` and `pull` are seconds; `allow` is what its proxy may reach beside the public."""

    work: Work
    node: str
    grace: float
    pull: float
    allow: list[str] = []


class WorkArgs(msgspec.Struct, frozen=True):
    """Which execution a call is about."""

    execution_id: str
    folder: str


class StopArgs(msgspec.Struct, frozen=True):
    """End this execution for `reason`: TERM, then KILL after `grace` seconds."""

    execution_id: str
    folder: str
    grace: float
    reason: Reason


class ListArgs(msgspec.Struct, frozen=True):
    """All executions of this node."""

    node: str


class Found(msgspec.Struct, frozen=True):
    """One container of this node."""

    execution_id: str
    folder: str
    container: str
    begun: bool = True


class FoundAll(msgspec.Struct, frozen=True):
    """The answer to a list call."""

    found: list[Found] = []


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the driver must know of started work after any restart. Lies in the execution's folder as JSON.

    Written before the container is started, so work without it was never started, and work with it
    whose container is gone has vanished. `timeout` and `grace` in seconds, `steps` in milliseconds.
    `way` is what its proxy lets through, for the network HTTP.
    """

    container: str
    timeout: float | None
    grace: float
    stream_cap: int
    memory: int = 0
    steps: dict[str, float] = {}
    way: Way | None = None
