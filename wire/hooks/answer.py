"""What a hook answered, read strictly: yes or no with score, cost, ttl and reason, or a fault with its code."""

import math
from dataclasses import dataclass
from typing import cast

from wire.failures import InvalidRequest, Reason, TenderError
from wire.quantities import parse_duration
from wire.strict_json import read_json

REASON_CAP = 500
"""Characters of a reason that a hook may give."""
ANSWER_CAP = 64 * 1024
MAX_COST = 1e12
EXCLUDES = -1
"""A score that means no, as in Bacalhau's rankers."""
_OWN_KEYS = frozenset({"bid", "score", "cost", "ttl", "reason"})


@dataclass(frozen=True)
class Answer:
    """A hook's opinion. None leaves the node's own number."""

    bid: bool
    score: float | None = None
    cost: float | None = None
    ttl: float | None = None
    reason: Reason | None = None


class HookError(Exception):
    """The hook gave no opinion. `reason.code` says how it failed; the owner's `on_error` decides."""

    def __init__(self, hook: str, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reason = Reason(code, f"hook {hook}: {message}", hint)

    @classmethod
    def of(cls, reason: Reason) -> "HookError":
        """The same fault, of which a child process told."""
        error = cls("", reason.code, reason.message, reason.hint)
        error.reason = reason
        return error


def first_line(text: bytes | str) -> str:
    """The first line that holds something, printable and cut."""
    if isinstance(text, bytes):
        text = text[: ANSWER_CAP + 4].decode(errors="replace")
    for line in text.splitlines():
        clean = "".join(char for char in line.replace("\t", " ") if char.isprintable()).strip()
        if clean:
            return clean[:REASON_CAP]
    return ""


def said_no(hook: str, why: str) -> Answer:
    return Answer(bid=False, reason=Reason("hook-said-no", f"hook {hook}: {why}"))


def read_answer(hook: str, data: bytes) -> Answer:
    """The answer in `data`; empty is a plain yes. Raises HookError."""
    if not data.strip():
        return Answer(bid=True)
    try:
        document = read_json(data, max_bytes=ANSWER_CAP)
    except TenderError as error:
        raise HookError(hook, "hook-bad-json", error.message, 'answer nothing, or {"bid": true}') from None
    if not isinstance(document, dict):
        raise HookError(hook, "hook-bad-json", "the answer is not a JSON object", 'answer {"bid": true}')
    return _opinion(hook, cast(dict[str, object], document))


def _opinion(hook: str, document: dict[str, object]) -> Answer:
    given = {key.lower(): value for key, value in document.items() if value is not None}
    verdicts = [value for key, value in document.items() if key.lower() in {"bid", "shouldbid"}]
    excludes = given.get("score") == EXCLUDES
    if any(not isinstance(verdict, bool) or verdict != (verdicts[0] and not excludes) for verdict in verdicts):
        why = "it is not clear whether the answer is yes or no"
        raise HookError(hook, "hook-bad-answer", why, "answer one bid: true or false")
    if not verdicts and not _OWN_KEYS & set(given):
        raise HookError(hook, "hook-bad-answer", "the answer holds neither bid nor shouldBid", 'answer {"bid": true}')
    reason = given.get("reason", "")
    if not isinstance(reason, str):
        raise HookError(hook, "hook-bad-answer", "reason is not text")
    if excludes or (verdicts and not verdicts[0]):
        return said_no(hook, first_line(reason) or "it said no without a reason")
    return Answer(
        bid=True,
        score=_number(hook, given, "score", 0, 100),
        cost=_number(hook, given, "cost", 0, MAX_COST),
        ttl=_ttl(hook, given.get("ttl")),
        reason=Reason("hook-said-yes", f"hook {hook}: {first_line(reason)}") if reason else None,
    )


def _number(hook: str, given: dict[str, object], key: str, low: float, high: float) -> float | None:
    value = given.get(key)
    if value is None:
        return None
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not low <= number <= high:
        raise HookError(hook, "hook-bad-answer", f"{key} is not a number from {low:g} to {high:g}")
    return number


def _ttl(hook: str, value: object) -> float | None:
    if value is None:
        return None
    try:
        seconds = parse_duration(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except InvalidRequest:
        seconds = 0.0
    if seconds <= 0:
        raise HookError(hook, "hook-bad-answer", "ttl is not a duration above zero", 'write it as "30s"')
    return seconds
