"""Asks a probe hook that is a URL, through a short-lived child that alone imports the HTTP client."""

import base64
import os
import sys
from pathlib import Path

import msgspec

from agent.bidding.hook_answer import ANSWER_CAP, Answer, HookError, first_line, read_answer, said_no
from agent.config import HookSettings
from agent.spawn import Fault, run_capped

_WORKER = (sys.executable, "-P", "-m", "agent.workers.http_hook")
_ROOT = str(Path(__file__).resolve().parents[2])
_REPORT_CAP = 4 * ANSWER_CAP
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_JSON_TYPES = ("application/json", "text/json")


class _Report(msgspec.Struct, frozen=True):
    """What the child saw: a status with type and body in base64, or the code and sentence of a fault."""

    status: int = 0
    type: str = ""
    body: str = ""
    fault: str = ""
    message: str = ""


async def ask_url(hook: HookSettings, question: bytes) -> Answer:
    """Raises HookError when the URL gave no opinion."""
    report = await _run(hook, question)
    if report.fault:
        raise HookError(hook.name, report.fault, first_line(report.message))
    return understand(hook.name, report.status, report.type, base64.b64decode(report.body))


def understand(hook: str, status: int, content_type: str, body: bytes) -> Answer:
    """The opinion in an HTTP answer. Raises HookError."""
    if 300 <= status < 400:
        raise HookError(hook, "hook-redirect", f"answered {status}; redirects are not followed", "give the final URL")
    if 200 <= status < 300:
        return read_answer(hook, body)
    why = f"answered {status}"
    if is_json(content_type):
        try:
            told = read_answer(hook, body)
        except HookError:
            return said_no(hook, why)
        # A refusal by status stands, whatever else the document says.
        return said_no(hook, why) if told.bid else told
    return said_no(hook, first_line(body) if content_type.lower().startswith("text/plain") and body else why)


def is_json(content_type: str) -> bool:
    """Whether the media type is JSON; parameters such as `charset` and case do not matter."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in _JSON_TYPES or kind.endswith("+json")


async def _run(hook: HookSettings, question: bytes) -> _Report:
    orders = {
        "url": hook.http,
        "ca": hook.ca,
        "allow_link_local": hook.allow_link_local,
        "seconds": hook.timeout,
        "cap": ANSWER_CAP,
        "body": base64.b64encode(question).decode(),
    }
    env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": _ROOT}
    env |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    stdin = msgspec.json.encode(orders)
    ran = await run_capped(_WORKER, env=env, seconds=hook.timeout, stdin=stdin, cap=_REPORT_CAP)
    if ran.fault is Fault.TIMEOUT:
        raise HookError(hook.name, "hook-timeout", f"no whole answer within {hook.timeout:g} s")
    try:
        return msgspec.json.decode(ran.stdout, type=_Report)
    except msgspec.DecodeError:
        trouble = ran.detail or first_line(ran.stderr[-2000:]) or f"exit code {ran.exit_code}"
        raise HookError(hook.name, "hook-not-startable", f"the HTTP child failed: {trouble}") from None
