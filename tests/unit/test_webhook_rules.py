"""Signatures as the specification has them, and what a try means for a delivery and its webhook."""

import base64
import datetime as dt

import pytest
from standardwebhooks import Webhook

from hub.policy import WebhookPolicy
from hub.store.webhook_records import DeliveryRecord, DeliveryState, Filter, WebhookRecord, WebhookState
from hub.webhooks.retrying import ASKED_MOST, LONGEST, Answer, Result, delivery_after, pause, webhook_after
from hub.webhooks.rules import shown_url
from hub.webhooks.signing import Vault, headers, new_secret, sign
from wire.failures import Conflict

SECOND = 10**9
DAY = 86_400 * SECOND
POLICY = WebhookPolicy()
DELIVERED, REFUSED, GONE = Answer(Result.DELIVERED, 200), Answer(Result.REFUSED, 500, "no"), Answer(Result.GONE, 410)


def webhook(**fields):
    start = {"id": "w-1", "namespace": "default", "url": "https://a", "filter": Filter(), "secret": b""}
    return WebhookRecord(**{**start, **fields})


def delivery(**fields):
    start = {
        "id": "d-1", "webhook_id": "w-1", "type": "job.failed", "job_id": "j-1", "body": b"{}", "tries": 0, "due": 0,
        "status": 0, "message": "", "created": 0, "modified": 0, "state": DeliveryState.WAITING,
    }  # fmt: skip
    return DeliveryRecord(**{**start, **fields})


def test_the_signature_is_that_of_the_specification():
    # The example of the specification's own libraries.
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    made = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_make_two_signatures_and_either_verifies():
    first, second = new_secret(), new_secret()
    now = int(dt.datetime.now(dt.UTC).timestamp())  # noqa: TID251  the library looks at the wall clock
    made = headers([first, second], "d-1", now, b'{"a":1}')
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32
    for secret in (first, second):
        assert Webhook(secret).verify(b'{"a":1}', made) == {"a": 1}


def test_what_is_no_secret_signs_nothing():
    with pytest.raises(ValueError, match="not a secret"):
        sign("whsec_***", "d-1", 0, b"")


def test_a_sealed_secret_opens_with_its_key_for_its_webhook_only():
    vault, secret = Vault(b"k" * 32), new_secret()
    sealed = vault.seal(secret, "w-1")
    assert secret.encode() not in sealed
    assert vault.seal(secret, "w-1") != sealed
    assert vault.open(sealed, "w-1") == secret
    for other, webhook_id, text in ((Vault(b"x" * 32), "w-1", sealed), (vault, "w-2", sealed), (vault, "w-1", b"cut")):
        with pytest.raises(Conflict, match="does not open"):
            other.open(text, webhook_id)


def test_pauses_grow_to_a_limit_and_are_spread():
    assert [pause(tries, 0, 1.0) for tries in (1, 2, 3)] == [5, 15, 45]
    assert pause(1, 0, 0.0) == 2.5
    assert pause(100, 0, 1.0) == LONGEST
    assert pause(1, 600, 0.5) == 600
    assert pause(100, 600, 1.0) == LONGEST
    assert pause(1, 10**9, 0.5) == ASKED_MOST


def test_a_try_that_works_ends_a_delivery_and_heals_its_webhook():
    failing = webhook(failures=7, failing_since=5)
    after = webhook_after(failing, DELIVERED, DAY, POLICY)
    assert (after.failures, after.failing_since, after.state) == (0, 0, WebhookState.ACTIVE)
    assert delivery_after(delivery(), DELIVERED, after, DAY, POLICY, 1.0).state is DeliveryState.DELIVERED


def test_a_webhook_is_paused_only_after_long_and_often():
    for failures, since, state in (
        (3, 1, WebhookState.ACTIVE),
        (100, 2 * DAY, WebhookState.ACTIVE),
        (4, 1, WebhookState.PAUSED),
    ):
        after = webhook_after(webhook(failures=failures, failing_since=since), REFUSED, 4 * DAY, POLICY)
        assert after.state is state, (failures, since)
    first = webhook_after(webhook(), REFUSED, DAY, POLICY)
    assert (first.failures, first.failing_since) == (1, DAY)


def test_a_delivery_waits_for_a_paused_webhook_and_is_given_up_at_an_active_one():
    old = 3 * DAY
    for state, becomes in (
        (WebhookState.ACTIVE, DeliveryState.FAILED),
        (WebhookState.PAUSED, DeliveryState.WAITING),
        (WebhookState.DISABLED, DeliveryState.FAILED),
    ):
        step = delivery_after(delivery(tries=12), REFUSED, webhook(state=state), old, POLICY, 1.0)
        assert (step.state, step.status, step.message) == (becomes, 500, "no")
    young = delivery_after(delivery(), REFUSED, webhook(), old - 1, POLICY, 1.0)
    assert (young.state, young.due) == (DeliveryState.WAITING, old - 1 + 5 * SECOND)


def test_gone_is_the_end_and_a_test_is_tried_once():
    assert webhook_after(webhook(), GONE, DAY, POLICY).state is WebhookState.DISABLED
    assert delivery_after(delivery(job_id=""), REFUSED, webhook(), 1, POLICY, 1.0).state is DeliveryState.FAILED


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(), True),
        (Filter(states=["failed", "stopped"]), True),
        (Filter(states=["completed"]), False),
        (Filter(types=["batch"]), True),
        (Filter(types=["ops"]), False),
        (Filter(labels={"team": "red"}), True),
        (Filter(labels={"team": "red", "hall": "b"}), False),
        (Filter(states=["failed"], types=["batch"], labels={"team": "red", "hall": "a"}), True),
    ],
)
def test_a_filter_holds_in_all_its_parts(wanted, fits):
    assert wanted.fits("failed", "batch", {"team": "red", "hall": "a"}) is fits


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/x", "https://a.example/x"),
        ("https://a.example/x?key=1&b=2", "https://a.example/x?…"),
        ("https://ann:pw@a.example/x", "https://…@a.example/x"),
        ("nonsense@", "nonsense@"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url, shown):
    assert shown_url(url) == shown
