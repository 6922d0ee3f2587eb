"""Turns what Podman and the execution's folder know of an ended container into a report. Pure."""

import contextlib
from datetime import datetime
from typing import Any

from agent.executors.base import ExitReport
from agent.executors.podman_calls import Order
from agent.workers.podman_api import NEVER
from agent.workers.podman_logs import LogFollower
from wire.failures import Reason

KILLED = {137, 143}
"""Exit codes of programs that ended by KILL and TERM and not by themselves."""


def ended(order: Order, state: dict[str, Any], log: LogFollower, stopped: Reason | None, *, oom: bool) -> ExitReport:
    """The report of a container that Podman calls exited."""
    if str(state["FinishedAt"]).startswith(NEVER):
        return gone(log, stopped, "a restart of the box cut it off")
    code = int(state["ExitCode"])
    seconds = _seconds(str(state["StartedAt"]), str(state["FinishedAt"]))
    reason = stopped or _reason(order, code, seconds, oom=oom)
    ended_by_us = code < 0 or (reason is not None and reason.code != "oom" and code in KILLED)
    return ExitReport(
        exit_code=None if ended_by_us else code,
        reason=reason,
        stdout_bytes=log.stdout.total,
        stderr_bytes=log.stderr.total,
        seconds=seconds,
        steps={**order.steps, "run": round(seconds * 1000, 1)},
    )


def gone(log: LogFollower, stopped: Reason | None, why: str) -> ExitReport:
    """The report of work that left no exit code."""
    reason = stopped or Reason("vanished", f"nothing is left to say how it ended: {why}", "run it again")
    return ExitReport(reason=reason, stdout_bytes=log.stdout.total, stderr_bytes=log.stderr.total)


def too_long(timeout: float) -> Reason:
    return Reason("timeout", f"it ran longer than {timeout:g} s", "raise the task's timeout")


def _reason(order: Order, code: int, seconds: float, *, oom: bool) -> Reason | None:
    if oom and code == 137:
        return Reason("oom", f"it used more than its {order.memory} bytes of memory", "raise Resources.Memory")
    # -1 is what conmon leaves when the time-out of its own ended the work: nobody else was there
    if order.timeout is not None and code in {-1, 137} and seconds > order.timeout:
        return too_long(order.timeout)
    return None


def _seconds(began: str, finished: str) -> float:
    """Between Podman's two stamps; the second may be some milliseconds before the first."""
    with contextlib.suppress(ValueError):
        return max(0.0, round((_moment(finished) - _moment(began)).total_seconds(), 3))
    return 0.0


def _moment(text: str) -> datetime:
    """A stamp with nine digits of a second, more than Python reads, as one with six."""
    whole, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] if rest else ""
    return datetime.fromisoformat(f"{whole}.{digits[:6]:0<6}{zone}" if rest else whole)
