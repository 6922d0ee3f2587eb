"""Brings a question to a hook's URL through a short-lived child, which alone imports the HTTP client."""

import os
import sys
from pathlib import Path

import msgspec

from wire.failures import Reason
from wire.hooks.answer import ANSWER_CAP, HookError, first_line
from wire.hooks.reply import Reply
from wire.hooks.settings import HookSettings
from wire.processes.spawn import Fault, run_capped

_WORKER = (sys.executable, "-P", "-m", "agent.workers.http_hook")
_ROOT = str(Path(__file__).resolve().parents[2])
_REPORT_CAP = 4 * ANSWER_CAP
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Orders(msgspec.Struct, frozen=True):
    """What the child is to ask and how."""

    hook: HookSettings
    question: bytes


class Report(msgspec.Struct, frozen=True):
    """What the child saw: a status with type and body, or the reason of a fault."""

    status: int = 0
    type: str = ""
    body: bytes = b""
    fault: Reason | None = None


async def ask_child(hook: HookSettings, question: bytes) -> Reply:
    """The answer of the hook's URL within its time. Raises HookError."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": _ROOT}
    env |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    stdin = msgspec.json.encode(Orders(hook, question))
    ran = await run_capped(_WORKER, env=env, seconds=hook.timeout, stdin=stdin, cap=_REPORT_CAP)
    if ran.fault is Fault.TIMEOUT:
        raise HookError(hook.name, "hook-timeout", f"no whole answer within {hook.timeout:g} s")
    try:
        report = msgspec.json.decode(ran.stdout, type=Report)
    except msgspec.DecodeError:
        trouble = ran.detail or first_line(ran.stderr[-2000:]) or f"exit code {ran.exit_code}"
        raise HookError(hook.name, "hook-not-startable", f"the HTTP child failed: {trouble}") from None
    if report.fault is not None:
        raise HookError.of(report.fault)
    return Reply(report.status, report.type, report.body)
