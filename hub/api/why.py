"""Why a job ran where it ran, or nowhere: its auctions, newest page first, with the refusals counted."""

from collections.abc import Sequence
from typing import Annotated, Any

from litestar import Router, get
from litestar.params import FromPath, FromQuery, QueryParameter

from hub.api import shapes
from hub.api.bodies import Req
from hub.api.jobs import find_job, hub_of
from hub.api.paging import LIMIT_MOST, page_of, page_token
from hub.auctions.auction import so_far
from hub.store import tenders as tenders_store
from hub.store.records import TenderRecord
from wire.database import Connection

SHOWN = 200
"""Tenders in one answer unless another number is asked for."""
REASONS_MOST = 50
ASLEEP_MOST = 50
TOLD = {"declined", "excluded", "silent"}
"""Outcomes of invitations that had a reason."""


@get("/{name:str}/why")
async def why(
    request: Req,
    name: FromPath[str],
    namespace: FromQuery[str] = "default",
    limit: Annotated[int, QueryParameter(ge=0, le=LIMIT_MOST)] = SHOWN,
    next_token: FromQuery[str] = "",
    slot: Annotated[int, QueryParameter(ge=-1, lt=2**31)] = -1,
) -> dict[str, Any]:
    """Auctions of a job: who was invited, who bid what, who declined and why. `next_token` leads to older ones.

    `Asleep` are nodes that the job waits for: they are asked when they wake.
    """
    hub = hub_of(request)
    page = page_of(limit or SHOWN, next_token, "", "", {"": "opened"})
    job = await find_job(request, name, namespace)

    def read(connection: Connection) -> tuple[list[TenderRecord], int]:
        found = tenders_store.page_of(connection, job.id, slot=slot, most=page.limit, offset=page.offset)
        return found, tenders_store.count_of(connection, job.id, slot)

    tenders, total = await hub.database.read(read)
    names = {node.id: node.name for node in hub.registry.nodes.values()}
    running = hub.board.auctions
    shown = [so_far(running[t.id], names) if t.id in running else t for t in tenders]
    before = page.offset + len(tenders)
    asleep = hub.dispatcher.survey.awaited(job.id)
    return {
        "JobID": job.id,
        "State": job.state.value,
        "Message": job.message,
        "Total": total,
        "NextToken": page_token(page, before) if before < total else "",
        "Asleep": [shapes.sleeper(entry, names[entry.node_id]) for entry in asleep[:ASLEEP_MOST]],
        "Reasons": _reasons(shown),
        "Tenders": [shapes.tender(tender) for tender in shown],
    }


def _reasons(tenders: Sequence[TenderRecord]) -> list[dict[str, Any]]:
    """What nodes, and the owner's hooks, said against the job in these tenders, the most frequent first."""
    found: dict[str, dict[str, Any]] = {}
    for bid in [bid for tender in tenders for bid in tender.bids if bid.outcome in TOLD]:
        said = [(reason.code, reason.message, reason.hint) for reason in bid.reasons]
        for code, message, hint in said or [(bid.outcome, "did not answer in time", "")]:
            entry = found.setdefault(code, {"Code": code, "Count": 0, "Nodes": set[str](), "Message": "", "Hint": ""})
            entry["Count"] += 1
            entry["Nodes"].add(bid.node_name or bid.node_id)
            entry |= {"Message": message, "Hint": hint}
    ordered = sorted(found.values(), key=lambda entry: -entry["Count"])[:REASONS_MOST]
    return [{**entry, "Nodes": sorted(entry["Nodes"])[:REASONS_MOST]} for entry in ordered]


router = Router(path="/api/v1/orchestrator/jobs", route_handlers=[why], tags=["jobs"])
