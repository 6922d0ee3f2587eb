"""What becomes of a delivery and of its webhook after a try. Pure: an answer and facts in, steps out."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from hub.policy import WebhookPolicy
from hub.store.webhook_records import DeliveryRecord, DeliveryState, Settled, WebhookRecord, WebhookState
from wire.quantities import format_duration

FIRST, FACTOR, LONGEST = 5.0, 3.0, 6 * 3600.0
"""Seconds before the second try; each pause is so many times the one before, up to the longest."""
ASKED_MOST = 24 * 3600.0
"""A receiver may ask for a longer pause with Retry-After, but not for a longer one than this, in seconds."""
PAUSE_LEAST = 5
"""Tries in a row that have to fail before a webhook is paused, however long that takes."""
GONE = 410


class Result(StrEnum):
    """How a try ended; also the label of the metric."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    REDIRECT = "redirect"
    GONE = "gone"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    ADDRESS = "address"
    SEALED = "sealed"


@dataclass(frozen=True)
class Answer:
    """What came of one try. `status` 0 and `message` when no answer came; `retry_after` in seconds."""

    result: Result
    status: int = 0
    message: str = ""
    retry_after: float = 0.0


def pause(tries: int, retry_after: float, jitter: float) -> float:
    """Seconds before the next try after so many; `jitter` from 0 to 1 spreads what failed together."""
    bound = min(LONGEST, FIRST * FACTOR ** min(tries - 1, 30))
    return max(bound * (0.5 + jitter / 2), min(retry_after, ASKED_MOST))


def webhook_after(webhook: WebhookRecord, answer: Answer, now: int, policy: WebhookPolicy) -> WebhookRecord:
    """The webhook after a try: well again, failing, paused or disabled."""
    if answer.result is Result.DELIVERED:
        return msgspec.structs.replace(webhook, failures=0, failing_since=0)
    since = webhook.failing_since or now
    failing = msgspec.structs.replace(webhook, failures=webhook.failures + 1, failing_since=since)
    if answer.result is Result.GONE:
        text = "its receiver answered 410 Gone: nothing is told any more"
        return msgspec.structs.replace(failing, state=WebhookState.DISABLED, message=text, modified=now)
    if failing.failures >= PAUSE_LEAST and now - since >= policy.pause_after * 1e9:
        text = f"every try failed for {format_duration((now - since) // 10**9)}; the last one: {answer.message}"
        return msgspec.structs.replace(failing, state=WebhookState.PAUSED, message=text, modified=now)
    return failing


def delivery_after(
    delivery: DeliveryRecord, answer: Answer, webhook: WebhookRecord, now: int, policy: WebhookPolicy, jitter: float
) -> Settled:
    """The delivery after a try; `webhook` is as the try left it. What waits at a paused one goes on waiting."""
    old = webhook.state is WebhookState.ACTIVE and now - delivery.created >= policy.give_up * 1e9
    state = DeliveryState.WAITING
    if answer.result is Result.DELIVERED:
        state = DeliveryState.DELIVERED
    elif old or webhook.state is WebhookState.DISABLED or not delivery.job_id:  # without a job it is a test
        state = DeliveryState.FAILED
    wait = pause(delivery.tries + 1, answer.retry_after, jitter)
    return Settled(state=state, due=now + int(wait * 1e9), status=answer.status, message=answer.message)
