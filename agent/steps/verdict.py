"""How an execution ended, decided from what its executor reported. Pure."""

from collections.abc import Collection

from agent.executors.base import ExitReport
from wire.failures import ExecutionFailed, Reason
from wire.jobs.job import Retry
from wire.states import ExecutionState, JobType

STAYING = {JobType.SERVICE, JobType.DAEMON}
ENDED = Reason("exit", "the program of a service ended without a fault")

_BY_CODE = {
    "timeout": ExecutionState.TIMED_OUT,
    "cancelled": ExecutionState.CANCELLED,
    "fenced": ExecutionState.CANCELLED,
}


def verdict(report: ExitReport, success: Collection[int]) -> tuple[ExecutionState, Reason | None]:
    """The end state and why. Every exit code that the job does not list as success fails the execution."""
    if report.reason is not None:
        return _BY_CODE.get(report.reason.code, ExecutionState.FAILED), report.reason
    if report.exit_code is None:
        return ExecutionState.FAILED, Reason("vanished", "the work ended without telling how")
    if report.exit_code in success:
        return ExecutionState.COMPLETED, None
    listed = ", ".join(str(code) for code in sorted(success)) or "none"
    hint = f"exit codes that count as success: {listed}; change it with SuccessExitCodes"
    return ExecutionState.FAILED, Reason("exit", f"the program ended with exit code {report.exit_code}", hint)


def begins_again(kind: JobType, report: ExitReport, *, alone: bool) -> bool:
    """Whether work that ended is started again by the node itself.

    A service or daemon is, while nobody hears of its end who could decide that, unless it was ended on purpose.
    """
    ended = report.reason is None or report.reason.code not in _BY_CODE
    return kind in STAYING and alone and ended


def cut_off_by_reboot(report: ExitReport, boot: str, now: str) -> bool:
    """Whether the work is gone because the box restarted, and not for a fault of its own."""
    return boot != now and report.reason is not None and report.reason.code == "vanished"


def heed_reboot(kind: JobType, retry: Retry, attempts: int) -> None:
    """Raises ExecutionFailed where work that a reboot cut off may not run once more."""
    if kind not in STAYING and ("reboot" not in retry.on or attempts >= max(1, retry.attempts)):
        message = f"the box restarted while the work ran (attempt {attempts})"
        raise ExecutionFailed(Reason("reboot", message, "list reboot in Retry.On to run it again on the node"))
