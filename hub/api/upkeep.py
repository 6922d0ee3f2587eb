"""Routes by which operators label nodes, drain them, and put them into maintenance."""

from typing import Any, TypeVar

import msgspec
from litestar import Router, put
from litestar.params import FromPath

from hub.api import shapes
from hub.api.bodies import Req, decoded, read_body
from hub.api.jobs import hub_of
from hub.api.paging import seconds_of
from hub.fleet.registry import Node
from wire import clock

SMALL = 16 * 1024
T = TypeVar("T")


class Labels(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """Labels to give; null takes one away."""

    labels: dict[str, str | None]


class Drain(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """How long work may go on there, like `1h`; empty: to its end."""

    deadline: str | float = ""
    message: str = ""


class Maintenance(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """How long it lasts, like `2h`; empty: until it is ended."""

    duration: str | float = ""
    message: str = ""


@put("/labels", status_code=200)
async def label(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Give or take labels beside those of the node's owner. Jobs that wait for them are looked at at once."""
    hub, wish = hub_of(request), await _read(request, Labels, '{"Labels": {"hall": "a", "old": null}}')
    node = hub.members.find(name)
    await hub.upkeep.label(node, wish.labels)
    return _shown(node)


@put("/drain", status_code=200)
async def drain(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Give a node no more work; at the deadline its batch and service work goes to other nodes."""
    hub, wish = hub_of(request), await _read(request, Drain, '{"Deadline": "1h"}')
    node = hub.members.find(name)
    await hub.upkeep.drain(node, _seconds("Deadline", wish.deadline), wish.message)
    return _shown(node)


@put("/maintenance", status_code=200)
async def maintenance(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Give a node no more work and take its absence for no fault."""
    hub, wish = hub_of(request), await _read(request, Maintenance, '{"Duration": "2h"}')
    node = hub.members.find(name)
    await hub.upkeep.maintain(node, _seconds("Duration", wish.duration), wish.message)
    return _shown(node)


@put("/undrain", status_code=200)
async def undrain(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """End a drain or maintenance."""
    hub = hub_of(request)
    node = hub.members.find(name)
    await hub.upkeep.undrain(node)
    return _shown(node)


async def _read(request: Req, kind: type[T], example: str) -> T:
    return decoded(await read_body(request, SMALL), kind, f"send {example}")


def _seconds(field: str, text: str | float) -> float | None:
    return None if text == "" else seconds_of(field, text)


def _shown(node: Node) -> dict[str, Any]:
    return {"Node": shapes.node(node, clock.unix_ns())}


router = Router(
    path="/api/v1/orchestrator/nodes/{name:str}",
    route_handlers=[label, drain, maintenance, undrain],
    tags=["nodes"],
)
