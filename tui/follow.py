"""Follows a job to its end: its history as it happens, patience while the hub restarts, and how it ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tui.client import JOBS, HubClient
from tui.exits import JobFailed, WaitedLongEnough
from wire import clock
from wire.failures import Unavailable

TERMINAL = ("Completed", "Failed", "Stopped")
ENDLESS = ("service", "daemon")
LOOK = 0.5
"""Seconds for which one question may wait at the hub for the job's end; events show up that late at most."""
PAUSES = (0.02, 0.05, 0.1)
PAUSE = 0.25
"""Between questions to a hub that answers at once, whatever it was asked to wait."""
Event = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """The job as it was last seen, and its executions."""

    job: dict[str, Any]
    executions: list[dict[str, Any]]

    @property
    def state(self) -> str:
        return state_of(self.job)


def state_of(job: dict[str, Any]) -> str:
    return str((job.get("State") or {}).get("StateType", ""))


def follow(
    client: HubClient, job_id: str, *, seconds: float, on_event: Callable[[Event], None], on_away: Callable[[str], None]
) -> Ended:
    """Wait for the job's end (service and daemon jobs: for the first that runs). Raises WaitedLongEnough."""
    deadline = clock.monotonic() + seconds
    seen = 0
    turn = 0
    away = False
    while True:
        asked = clock.monotonic()
        try:
            job, events = _look(client, job_id, waits=turn >= len(PAUSES))
            away = False
        except Unavailable as failed:
            if not away:
                on_away(failed.message)
            away, job, events = True, {}, []
        for event in events:
            if event.get("SeqNum", 0) > seen:
                seen = event["SeqNum"]
                on_event(event)
        if job and _is_over(job):
            return Ended(job, executions(client, job_id))
        if clock.monotonic() >= deadline:
            raise WaitedLongEnough(
                f"{job_id} is {state_of(job).lower() or 'unknown'} after {seconds:.0f} s; it goes on without you",
                hint=f"tender job describe {job_id}",
            )
        if away:
            time.sleep(1)
        elif turn < len(PAUSES):
            time.sleep(PAUSES[turn])
        else:
            time.sleep(max(0, PAUSE - (clock.monotonic() - asked)))
        turn += 1


def _look(client: HubClient, job_id: str, *, waits: bool) -> tuple[dict[str, Any], list[Event]]:
    # Asked for together, so that the events of a job that is over are whole.
    reply = client.get(f"{JOBS}/{job_id}", {"include": "history", "wait": LOOK if waits else ""})
    job, events = reply["Job"], (reply.get("History") or {}).get("Items") or []
    ours = {0, job.get("Version", 0)}  # not what became of earlier versions
    return job, [event for event in events if event.get("JobVersion", 0) in ours]


def _is_over(job: dict[str, Any]) -> bool:
    state = state_of(job)
    return state in TERMINAL or (job.get("Type") in ENDLESS and state == "Running")


def executions(client: HubClient, job_id: str) -> list[dict[str, Any]]:
    return client.get(f"{JOBS}/{job_id}/executions", {"limit": 1000}).get("Items") or []


def require_success(ended: Ended) -> None:
    """Raise JobFailed with what the job itself, or its last failed execution, says."""
    if ended.state in {"Completed", "Running"}:
        return
    message = str((ended.job.get("State") or {}).get("Message") or "")
    hint = ""
    for execution in ended.executions:
        reason = (execution.get("Tender") or {}).get("Reason") or {}
        if reason.get("Message"):
            message = message or str(reason["Message"])
            hint = str(reason.get("Hint") or "")
    job_id = ended.job.get("ID", "")
    raise JobFailed(
        f"job {ended.state.lower()}" + (f": {message}" if message else ""), hint=hint or f"tender why {job_id}"
    )
