"""The hub about itself, as Bacalhau's clients ask: alive, version, settings, and the addresses that lead there."""

from typing import Any

from litestar import get
from litestar.response import Redirect

from hub.api import shapes
from hub.api.bodies import Req
from hub.api.clients import version as level
from hub.config import HubConfig
from hub.parts import Hub
from wire import clock
from wire.jobs.job import JOB_TYPES, JobDefaults
from wire.jobs.parse import DEFAULT_CPU, DEFAULT_MEMORY


@get("/api/v1/agent/alive", tags=["agent"])
async def alive() -> dict[str, str]:
    """Whether the hub answers."""
    return {"Status": "OK"}


@get("/api/v1/agent/version", tags=["agent"])
async def version() -> dict[str, str]:
    """The API level that this hub speaks."""
    return level()


@get("/api/v1/agent/node", tags=["agent"])
async def node(request: Req) -> dict[str, Any]:
    """The hub as a node of type Requester, as Bacalhau shows it."""
    return _node(_hub(request).config)


@get("/api/v1/agent/config", tags=["agent"])
async def config(request: Req) -> dict[str, Any]:
    """The settings that Bacalhau has too, under its names. Nothing secret is among them."""
    mine = _hub(request).config
    return {
        "config": {
            "API": {"Host": mine.api_host, "Port": mine.api_port, "TLS": {"UseTLS": not mine.loopback}, "Auth": {}},
            "DataDir": str(mine.data_dir),
            "Orchestrator": {"Enabled": True, "NodeManager": {"ManualApproval": not mine.auto_approve}},
            "Compute": {"Enabled": False},
            "JobDefaults": {kind.capitalize(): _defaults(mine, kind) for kind in JOB_TYPES},
            "DisableAnalytics": True,
        }
    }


@get("/api/v1/agent/authconfig", tags=["agent"])
async def authconfig() -> dict[str, Any]:
    """The settings for a sign-on by browser: there is none."""
    return {"Version": "1.0.0", "Config": {}}


@get("/api/v1/agent/debug", tags=["agent"])
async def debug(request: Req) -> dict[str, Any]:
    """What the hub is doing now: its view of the fleet, and how much is going on."""
    hub, now = _hub(request), clock.unix_ns()
    return {
        "DiscoveredNodes": [shapes.node(one, now) for one in hub.registry.nodes.values()],
        "Board": {"Jobs": len(hub.board.jobs), "Auctions": len(hub.board.auctions)},
    }


@get(["/", "/version"], include_in_schema=False)
async def to_version() -> Redirect:
    return Redirect("/api/v1/agent/version", status_code=301)


@get("/livez", include_in_schema=False)
async def to_alive() -> Redirect:
    return Redirect("/api/v1/agent/alive", status_code=301)


def _hub(request: Req) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


def _defaults(mine: HubConfig, kind: str) -> dict[str, Any]:
    """What a job of one type gets where it says nothing. Parameters of its publisher stay untold."""
    given = mine.policy.job_defaults.get(kind, JobDefaults())
    resources = {"CPU": given.resources.cpu or DEFAULT_CPU, "Memory": given.resources.memory or DEFAULT_MEMORY}
    publisher = {"Publisher": {"Type": given.publisher.type}} if given.publisher.type else {}
    return {"Priority": given.priority, "Task": {"Resources": resources, **publisher}}


def _node(mine: HubConfig) -> dict[str, Any]:
    return {
        "NodeID": mine.hub_id,
        "NodeType": "Requester",
        "Labels": {"name": mine.hub_id, "os_type": level()["GOOS"], "os_arch": level()["GOARCH"]},
        "SupportedProtocols": ["tender/1"],
        "ComputeNodeInfo": {
            "ExecutionEngines": None,
            "Publishers": None,
            "StorageSources": None,
            "MaxCapacity": {},
            "QueueCapacity": {},
            "AvailableCapacity": {},
            "MaxJobRequirements": {},
            "RunningExecutions": 0,
            "EnqueuedExecutions": 0,
            "address": "",
        },
        "BacalhauVersion": level(),
    }


routes = [alive, version, node, config, authconfig, debug, to_version, to_alive]
