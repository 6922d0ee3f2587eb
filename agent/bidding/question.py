"""What a probe hook is asked: one JSON document about the job, its amounts, its inputs and the node."""

import msgspec

from agent.bidding.facts import Facts, InputFact
from wire.hooks.question import about_job
from wire.messages import Invitation
from wire.resources import Resources


def question(invitation: Invitation, facts: Facts, free: Resources) -> bytes:
    """The document. `node_id` is as Bacalhau documents it, and so is what is said of the job."""
    return msgspec.json.encode(
        {
            "node_id": facts.node.node_id,
            **about_job(invitation.job_id, facts.job.job),
            "tender_id": invitation.tender_id,
            "execution_id": facts.job.execution_id,
            "resources": {"requested": facts.job.needed.plain(), "free": free.plain()},
            "inputs": [_input(one) for one in facts.job.inputs],
            "facts": {"labels": dict(facts.node.labels), "health": dict(facts.node.health)},
        }
    )


def _input(one: InputFact) -> dict[str, object]:
    estimate = one.estimate
    size = {} if estimate is None or estimate.size is None else {"size": estimate.size}
    return {
        "type": one.spec.source.type,
        "alias": one.spec.alias,
        "target": one.spec.target,
        "params": one.spec.source.params,
        "local": bool(estimate and estimate.local),
        **size,
    }
