"""How an execution ended, decided from what its executor reported. Pure."""

from collections.abc import Collection

from agent.executors.base import ExitReport
from wire.failures import Reason
from wire.states import ExecutionState

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


def cut_off_by_reboot(report: ExitReport, boot: str, now: str) -> bool:
    """Whether the work is gone because the box restarted, and not for a fault of its own."""
    return boot != now and report.reason is not None and report.reason.code == "vanished"
