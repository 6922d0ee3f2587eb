"""Routes of nodes, results on nodes, and what nodes themselves call before they have a certificate."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Response, Router, get, post, put
from litestar.params import FromPath, FromQuery, QueryParameter

from hub.api import selectors, shapes
from hub.api.bodies import Req, decoded, read_body
from hub.api.jobs import hub_of
from hub.api.paging import is_true
from hub.fleet.registry import Node
from hub.store import node_events
from wire import clock
from wire.enrolment import REQUEST_CAP
from wire.failures import InvalidRequest, at
from wire.states import Membership

ORDERS: dict[str, Callable[[Node], Any]] = {
    "": lambda node: node.name or node.id,
    "name": lambda node: node.name or node.id,
    "id": lambda node: node.id,
    "type": lambda node: node.id,
    "approval": lambda node: node.membership,
    "status": lambda node: node.presence(clock.unix_ns()),
    "available_cpu": lambda node: node.free.cpu,
    "available_memory": lambda node: node.free.memory,
    "available_disk": lambda node: node.free.disk,
    "available_gpu": lambda node: node.free.gpu,
}
"""What nodes can be ordered by; all of them are of type Compute."""
SMALL = 64 * 1024
EVENTS_SHOWN = 50


class Decision(msgspec.Struct, rename="pascal"):
    """What an operator decides about a node."""

    action: str
    message: str = ""


class TokenWish(msgspec.Struct, rename="pascal"):
    """What kind of join token is asked for. `life` in seconds."""

    life: float = 3600
    approve: bool | None = None


@get("/")
async def list_nodes(
    request: Req,
    limit: Annotated[int, QueryParameter(ge=0, le=10_000)] = 0,
    order_by: FromQuery[str] = "",
    reverse: FromQuery[str] = "",
) -> dict[str, Any]:
    """All nodes with capabilities, free capacity, presence and its age."""
    now = clock.unix_ns()
    approval = _choice(request, "filter-approval", [one.value for one in Membership])
    status = _choice(request, "filter-status", ["connected", "disconnected"])
    labels = selectors.parse(request.query_params.getall("labels", []))
    if order_by not in ORDERS:
        known = ", ".join(name for name in ORDERS if name)
        hint = f"one of: {known}"
        raise InvalidRequest(f"cannot order by {order_by[:50]!r}", hint=hint, details=at("order_by", order_by))
    nodes = [
        node
        for node in hub_of(request).registry.nodes.values()
        if approval in {"", node.membership.value}
        and (not status or node.here(now) == (status == "connected"))
        and selectors.fits(labels, node.labels)
    ]
    nodes.sort(key=ORDERS[order_by], reverse=is_true(reverse))
    return {"NextToken": "", "Nodes": [shapes.node(n, now) for n in nodes[: limit or None]]}


def _choice(request: Req, name: str, known: list[str]) -> str:
    """A query parameter that is one of a few words, or empty."""
    word = request.query_params.get(name, "").lower()
    if word and word not in known:
        details = {"Field": name, "Value": word[:50]}
        raise InvalidRequest(f"{name} cannot be {word[:50]!r}", hint=f"one of: {', '.join(known)}", details=details)
    return word


@get("/{name:str}")
async def get_node(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """One node by id, unique prefix or name, with the newest of what it told of itself."""
    hub = hub_of(request)
    node = hub.members.find(name)
    told = await hub.database.read(lambda connection: node_events.newest(connection, node.id, EVENTS_SHOWN))
    shown = shapes.node(node, clock.unix_ns())
    shown["Tender"]["Events"] = shapes.node_events(told)
    return {"Node": shown}


@put("/{name:str}", status_code=200)
async def decide(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Approve, reject or delete a node."""
    decision = decoded(await read_body(request, SMALL), Decision, 'send {"Action": "approve"}')
    if decision.action not in {"approve", "reject", "delete"}:
        told = decision.action[:50]
        details = {"Field": "Action", "Value": told}
        raise InvalidRequest(f"unknown action {told!r}", hint="approve, reject or delete", details=details)
    await hub_of(request).members.decide(name, decision.action, decision.message)
    return {"Success": True, "Error": ""}


@post("/token", status_code=200)
async def token(request: Req) -> dict[str, Any]:
    """A one-use join token."""
    hub = hub_of(request)
    wish = decoded(await read_body(request, SMALL), TokenWish, 'send {"Life": 3600}, or nothing')
    approve = hub.config.auto_approve if wish.approve is None else wish.approve
    return {"Token": await hub.tokens.issue(life=wish.life, approve=approve)}


nodes_router = Router(
    path="/api/v1/orchestrator/nodes", route_handlers=[list_nodes, get_node, decide, token], tags=["nodes"]
)


@post("/api/v1/agent/enrol", status_code=200, tags=["agent"])
async def enrol(request: Req) -> Response[Any]:
    """Let a node in with a join token (wire/enrolment.py)."""
    reply = await hub_of(request).enrolment.enrol_bytes(await read_body(request, REQUEST_CAP))
    return Response(msgspec.json.encode(reply), media_type="application/json")


@post("/api/v1/agent/renew", status_code=200, tags=["agent"])
async def renew(request: Req) -> Response[Any]:
    """The next certificate of a known node (wire/enrolment.py)."""
    reply = await hub_of(request).enrolment.renew_bytes(await read_body(request, REQUEST_CAP))
    return Response(msgspec.json.encode(reply), media_type="application/json")


agent_routes = [enrol, renew]
