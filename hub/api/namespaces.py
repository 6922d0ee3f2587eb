"""Routes of namespaces: what each uses and may use."""

from typing import Any

from litestar import get

from hub.api.bodies import Req
from hub.api.gate import caller_of
from hub.api.jobs import hub_of
from hub.policy import Quota
from hub.store import usage

NAMESPACES_MOST = 1000


@get("/api/v1/orchestrator/namespaces", tags=["jobs"])
async def list_namespaces(request: Req) -> dict[str, Any]:
    """What each namespace uses, with its quota where it has one."""
    hub, caller = hub_of(request), caller_of(request)
    used = await hub.quotas.used(hub.database, NAMESPACES_MOST)
    return {
        "Items": [
            {**_used(one), "Quota": _quota(hub.quotas.quota(one.namespace))}
            for one in used
            if caller.sees(one.namespace)
        ]
    }


def _used(one: usage.Used) -> dict[str, Any]:
    return {
        "Name": one.namespace,
        "Jobs": one.jobs,
        "Executions": one.executions,
        "CPUSeconds": round(one.cpu_seconds, 3),
        "StoredBytes": one.stored,
    }


def _quota(quota: Quota) -> dict[str, Any]:
    amounts = {
        "Jobs": quota.jobs,
        "Executions": quota.executions,
        "CPUSeconds": quota.cpu_seconds,
        "StoredBytes": quota.stored_bytes,
    }
    given = {name: amount for name, amount in amounts.items() if amount is not None}
    return {**given, "PeriodSeconds": quota.period} if quota.cpu_seconds is not None else given


routes = [list_namespaces]
