"""What should happen next for one job: pure functions of the job, its executions, its tenders and the fleet."""

from hub.scheduler.planning import plan
from hub.scheduler.slots import has_all_results
from hub.scheduler.steps import (
    OVER,
    AwaitRoom,
    CloseTender,
    EndRollout,
    Facts,
    LookAgain,
    MoveJob,
    OpenTender,
    Progress,
    Revert,
    Step,
    StopExecution,
)
from hub.scheduler.waiting import CANDIDATES

__all__ = [
    "CANDIDATES",
    "OVER",
    "AwaitRoom",
    "CloseTender",
    "EndRollout",
    "Facts",
    "LookAgain",
    "MoveJob",
    "OpenTender",
    "Progress",
    "Revert",
    "Step",
    "StopExecution",
    "has_all_results",
    "plan",
]
