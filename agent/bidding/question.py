"""What a probe hook is asked: one JSON document about the job, its amounts, its inputs and the node."""

import msgspec

from agent.bidding.facts import Facts, InputFact
from wire import job_wire
from wire.messages import Invitation
from wire.resources import Resources


def question(invitation: Invitation, facts: Facts, free: Resources) -> bytes:
    """The document. `node_id`, `job_id` and `spec` are as Bacalhau documents them, `Job` as its release sends it."""
    job = {"ID": invitation.job_id, **job_wire.to_wire(facts.job.job)}
    tasks = job["Tasks"]
    return msgspec.json.encode(
        {
            "node_id": facts.node.node_id,
            "job_id": invitation.job_id,
            "tender_id": invitation.tender_id,
            "execution_id": facts.job.execution_id,
            "spec": tasks[0] if isinstance(tasks, list) and tasks else {},
            "Job": job,
            "resources": {"requested": _amounts(facts.job.needed), "free": _amounts(free)},
            "inputs": [_input(one) for one in facts.job.inputs],
            "facts": {"labels": dict(facts.node.labels), "health": dict(facts.node.health)},
        }
    )


def _amounts(resources: Resources) -> dict[str, float | int]:
    """All four, also where they are zero: a script should not need a default."""
    return {"cpu": resources.cpu, "memory": resources.memory, "disk": resources.disk, "gpu": resources.gpu}


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
