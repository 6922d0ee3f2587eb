"""What the end of an execution says about its node: one whose work fails is left alone for a while."""

from hub.fleet.registry import Node
from hub.jobs.board import LiveJob
from hub.store.records import ExecutionRecord
from wire import clock
from wire.failures import Reason
from wire.states import ExecutionState

JOBS_OWN = {"exit", "cancelled", "trap", "oom", "image-missing", "image-pull"}
"""Codes of failures that come from the job and not from the node."""


def note_end(node: Node, record: ExecutionRecord, live: LiveJob | None) -> None:
    """A node whose executions fail cools off, longer each time, and is forgiven by one that works."""
    if record.state is ExecutionState.COMPLETED:
        node.failures, node.cool_until = 0, 0.0
    elif record.state is ExecutionState.REFUSED and live is not None:
        reason = record.status.reason if record.status and record.status.reason else Reason("refused", "refused")
        live.avoid_node(node.id, reason)
    elif record.state is ExecutionState.FAILED and _is_the_nodes_fault(record):
        node.failures += 1
        if node.failures >= 3:
            node.cool_until = clock.monotonic() + min(600.0, 10.0 * 2 ** min(node.failures - 3, 10))


def _is_the_nodes_fault(record: ExecutionRecord) -> bool:
    """What the job brought with it, such as a wrong image, says nothing about the node."""
    reason = record.status.reason if record.status else None
    return reason is None or (reason.retryable and reason.code not in JOBS_OWN)
