"""What the agent remembers of one execution, as the rest of the agent sees it."""

import msgspec

from agent.executors.base import Handle
from wire.failures import Reason
from wire.jobs.job import Job
from wire.messages import ExecutionStatus, Order, ResultRef
from wire.resources import Resources
from wire.states import LIVE_ON_NODE, TERMINAL_EXECUTIONS, Desired, ExecutionState


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One execution on this node. `order.job` is always filled in, whatever way the job came.

    `boot` is the boot id of the box when the order was taken or the work was last started; `told` is the outbox
    number of its last report.
    """

    id: str
    ver: int
    state: ExecutionState
    desired: Desired
    desired_ver: int
    order: Order
    requested: Resources
    status: ExecutionStatus
    handle: Handle | None = None
    boot: str = ""
    told: int = 0
    created: int = 0

    @property
    def live(self) -> bool:
        """Whether it holds resources."""
        return self.state in LIVE_ON_NODE

    @property
    def over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in TERMINAL_EXECUTIONS

    @property
    def job(self) -> Job:
        if self.order.job is None:
            raise ValueError(f"execution {self.id} was stored without its job")
        return self.order.job


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a move says beside the new state. None and empty leave what was said before."""

    reason: Reason | None = None
    exit_code: int | None = None
    stdout: str | None = None
    stdout_truncated: bool = False
    stderr: str | None = None
    stderr_truncated: bool = False
    result: ResultRef | None = None
    steps: dict[str, float] = {}
    handle: Handle | None = None
    boot: str = ""


class Hold(msgspec.Struct, frozen=True):
    """Resources kept for a bid; `answer` is the bid's body, told again when the invitation comes again."""

    tender_id: str
    requested: Resources
    answer: bytes
    ttl: float


class KeptResult(msgspec.Struct, frozen=True):
    """A result that stays on the node for clients after the execution itself was forgotten."""

    execution_id: str
    manifest: str
    size: int
    until: int
