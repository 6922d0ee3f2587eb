"""What should happen next for one job: pure functions of the job, its executions, its tenders and the fleet."""

from hub.scheduler.absent import due, is_absent, is_in_doubt
from hub.scheduler.planning import plan
from hub.scheduler.slots import has_all_results
from hub.scheduler.steps import (
    OVER,
    AwaitRoom,
    Away,
    CloseTender,
    EndRollout,
    Facts,
    Judge,
    LookAgain,
    MoveJob,
    OpenTender,
    Progress,
    Revert,
    Step,
    StopExecution,
    Told,
)
from hub.scheduler.waiting import CANDIDATES

__all__ = [
    "CANDIDATES",
    "OVER",
    "AwaitRoom",
    "Away",
    "CloseTender",
    "EndRollout",
    "Facts",
    "Judge",
    "LookAgain",
    "MoveJob",
    "OpenTender",
    "Progress",
    "Revert",
    "Step",
    "StopExecution",
    "Told",
    "due",
    "has_all_results",
    "is_absent",
    "is_in_doubt",
    "plan",
]
