"""Orders as a node takes them from the hub, with defaults for everything a test does not care about."""

from typing import Any

import msgspec

from wire.jobs.job import Engine, Job, Task
from wire.messages import Order
from wire.signing import OVERHEAD
from wire.states import JobType


def order_of(execution_id: str, **fields: Any) -> Order:
    """The first order of an execution of a small batch job."""
    told: dict[str, Any] = {
        "ep": 1,
        "execution_id": execution_id,
        "ver": 1,
        "job_id": "j-1",
        "job_version": 1,
        "job_type": JobType.BATCH,
        "job": Job(name="j", type="batch", tasks=[Task(engine=Engine("fake"))]),
    }
    return Order(**told | fields)


def sealed(order: Order) -> bytes:
    """Its envelope as the store keeps it; the signature is nobody's."""
    return b"\1" * OVERHEAD + msgspec.json.encode(order)
