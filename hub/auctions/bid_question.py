"""What a hook on bids is asked: one JSON document about the bid, the job and the node as the hub sees it."""

import msgspec

from hub.auctions.ranking import Ranked
from hub.fleet.registry import Node
from hub.store.records import JobRecord, TenderRecord
from wire.hooks.question import about_job
from wire.messages import Bid
from wire.resources import Resources


def bid_question(
    job: JobRecord, tender: TenderRecord, node: Node, ranked: Ranked, bid: Bid, requested: Resources
) -> bytes:
    """The document: what a node asks its own hooks, and the bid with the hub's rank.

    Free is what the node has, as the hub counts, without this job.
    """
    return msgspec.json.encode(
        {
            "node_id": node.id,
            "node_name": node.name,
            **about_job(job.id, job.spec),
            "tender_id": tender.id,
            "slot": tender.slot,
            "attempt": tender.attempt,
            "resources": {"requested": requested.plain(), "free": (node.free + requested).plain()},
            "bid": {"score": bid.score, "cost": bid.cost, "ttl": bid.ttl, "locality": bid.locality},
            "rank": ranked.rank,
            "ranks": ranked.parts,
            "facts": {"labels": node.labels, "health": _health(node)},
        }
    )


def _health(node: Node) -> dict[str, str]:
    return {check.name: check.verdict for check in node.health.checks} if node.health else {}
