"""Routes of nodes, results on nodes, and what nodes themselves call before they have a certificate."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post, put
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.response import File

from hub.api import shapes
from hub.api.jobs import hub_of, read_body
from hub.registry import Node
from hub.store import jobs as store
from wire import clock
from wire.enrolment import REQUEST_CAP
from wire.failures import InvalidRequest, NotFound, TooLarge
from wire.states import NodeState

Req = Request[Any, Any, State]


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
    limit: Annotated[int, Parameter(ge=0, le=10_000)] = 0,
    order_by: str = "",
    reverse: str = "",
) -> dict[str, Any]:
    """All nodes with capabilities, free capacity, presence and its age."""
    hub = hub_of(request)
    now = clock.unix_ns()
    approval = request.query_params.get("filter-approval", "").lower()
    status = request.query_params.get("filter-status", "").lower()
    nodes = [n for n in hub.registry.nodes.values() if approval in {"", n.membership.value}]
    if status:
        online = {NodeState.ONLINE, NodeState.DRAINING, NodeState.MAINTENANCE}
        nodes = [n for n in nodes if (n.presence(now) in online) == (status == "connected")]
    for selector in (part for item in request.query_params.getall("labels", []) for part in item.split(",")):
        key, _, value = selector.partition("=")
        nodes = [n for n in nodes if n.labels.get(key) == value]
    nodes.sort(key=lambda n: _order(n, order_by), reverse=reverse.lower() == "true")
    return {"NextToken": "", "Nodes": [shapes.node(n, now) for n in nodes[: limit or None]]}


def _order(node: Node, by: str) -> Any:
    if by.startswith("available_"):
        return getattr(node.free, by.removeprefix("available_"), 0)
    return node.name or node.id


@get("/{name:str}")
async def get_node(request: Req, name: str) -> dict[str, Any]:
    """One node by id, unique prefix or name."""
    return {"Node": shapes.node(hub_of(request).members.find(name), clock.unix_ns())}


@put("/{name:str}", status_code=200)
async def decide(request: Req, name: str) -> dict[str, Any]:
    """Approve, reject or delete a node."""
    body = await read_body(request)
    try:
        decision = msgspec.json.decode(body, type=Decision)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"not a decision: {error}", hint='send {"Action": "approve"}') from None
    if decision.action not in {"approve", "reject", "delete"}:
        raise InvalidRequest(f"unknown action {decision.action!r}", hint="approve, reject or delete")
    await hub_of(request).members.decide(name, decision.action, decision.message)
    return {"Success": True, "Error": ""}


@post("/token", status_code=200)
async def token(request: Req) -> dict[str, Any]:
    """A one-use join token."""
    hub = hub_of(request)
    body = await read_body(request)
    try:
        wish = msgspec.json.decode(body, type=TokenWish) if body.strip() else TokenWish()
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"not a token request: {error}") from None
    approve = hub.config.auto_approve if wish.approve is None else wish.approve
    return {"Token": await hub.tokens.issue(life=wish.life, approve=approve)}


nodes_router = Router(
    path="/api/v1/orchestrator/nodes", route_handlers=[list_nodes, get_node, decide, token], tags=["nodes"]
)


@get("/api/v1/orchestrator/results/{name:str}", tags=["jobs"])
async def result_archive(request: Req, name: str) -> File:
    """One accepted result as .tar.gz, fetched from its node and verified on first use."""
    hub = hub_of(request)
    execution_id = name.removesuffix(".tar.gz")
    record = await hub.database.read(lambda c: store.execution(c, execution_id))
    if record is None or not name.endswith(".tar.gz"):
        raise NotFound(f"result not found: {name}")
    path = await hub.results.archive(record)
    return File(path, filename=f"{execution_id}.tar.gz", media_type="application/gzip")


@post("/api/v1/agent/enrol", status_code=200, tags=["agent"])
async def enrol(request: Req) -> Response[Any]:
    """Let a node in with a join token (wire/enrolment.py)."""
    reply = await hub_of(request).enrolment.enrol_bytes(await _small_body(request))
    return Response(msgspec.json.encode(reply), media_type="application/json")


@post("/api/v1/agent/renew", status_code=200, tags=["agent"])
async def renew(request: Req) -> Response[Any]:
    """The next certificate of a known node (wire/enrolment.py)."""
    reply = await hub_of(request).enrolment.renew_bytes(await _small_body(request))
    return Response(msgspec.json.encode(reply), media_type="application/json")


async def _small_body(request: Req) -> bytes:
    body = await read_body(request)
    if len(body) > REQUEST_CAP:
        raise TooLarge(f"this body has {len(body)} bytes, at most {REQUEST_CAP} are allowed")
    return body


@get("/api/v1/agent/alive", tags=["agent"])
async def alive() -> dict[str, str]:
    """Whether the hub answers."""
    return {"Status": "OK"}


@get("/api/v1/agent/version", tags=["agent"])
async def version() -> dict[str, Any]:
    """The API level that this hub speaks."""
    return shapes.version()


@get("/api/v1/agent/node", tags=["agent"])
async def hub_node(request: Req) -> dict[str, Any]:
    """The hub as a node of type Requester, as Bacalhau shows it."""
    hub = hub_of(request)
    return {
        "Info": {
            "NodeID": hub.config.hub_id,
            "NodeType": "Requester",
            "Labels": {},
            "SupportedProtocols": ["tender/1"],
            "BacalhauVersion": shapes.version(),
        },
        "Membership": "APPROVED",
        "Connection": "CONNECTED",
    }


agent_routes = [result_archive, enrol, renew, alive, version, hub_node]
