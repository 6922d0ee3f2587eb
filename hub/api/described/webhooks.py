"""The operations of webhooks as the OpenAPI document tells them: names, samples of answers, bodies with examples."""

from typing import Any

from hub.api.described.shape import Part
from hub.api.webhooks import WebhookChange, WebhookRotation, WebhookWish, shape_delivery, shape_webhook
from hub.store.webhook_records import DeliveryRecord, DeliveryState, Filter, Numbers, WebhookRecord

WEBHOOKS = "/api/v1/webhooks"
_ONE = f"{WEBHOOKS}/{{name}}"
_AT = 1_780_000_000_000_000_000
_ID = "w-0198c6a4-1b2c-4d5e-8f60-718293a4b5c6"
_RECORD = WebhookRecord(
    id=_ID,
    namespace="default",
    url="https://hooks.example/tender",
    filter=Filter(states=["failed"], types=["batch"], labels={"team": "red"}),
    secret=b"",
    created=_AT,
    modified=_AT,
)
_DELIVERY = DeliveryRecord(
    id="d-0198c6a4-1b2c-4d5e-8f60-718293a4b5c7",
    webhook_id=_ID,
    type="job.failed",
    job_id="j-0198c6a4-1b2c-4d5e-8f60-718293a4b5c8",
    body=b"",
    state=DeliveryState.DELIVERED,
    tries=1,
    due=_AT,
    status=204,
    message="",
    created=_AT,
    modified=_AT,
)
_SECRET = "whsec_…"  # noqa: S105  not one


def operations() -> dict[tuple[str, str], tuple[str, str, Any]]:
    """Name, summary and a sample of the answer, by method and path."""
    webhook = Part("Webhook", shape_webhook(_RECORD, Numbers(waiting=0, ended=3, dropped=0)))
    delivery = Part("Delivery", shape_delivery(_DELIVERY))
    one, with_secret = {"Webhook": webhook}, {"Webhook": webhook, "Secret": _SECRET}
    return {
        ("get", WEBHOOKS): ("listWebhooks", "Who is told when jobs end", {"NextToken": "", "Items": [webhook]}),
        ("post", WEBHOOKS): ("addWebhook", "Be told when jobs end", with_secret),
        ("get", _ONE): ("getWebhook", "One webhook", one),
        ("put", _ONE): ("changeWebhook", "Change, pause or resume a webhook", one),
        ("delete", _ONE): ("removeWebhook", "Remove a webhook", {"Success": True}),
        ("post", f"{_ONE}/rotate"): ("rotateWebhook", "Give a webhook a new secret", with_secret),
        ("post", f"{_ONE}/test"): ("testWebhook", "Send a test message", {"Delivery": delivery}),
        ("get", f"{_ONE}/deliveries"): (
            "listDeliveries", "What was sent or waits", {"NextToken": "", "Items": [delivery]},
        ),
    }  # fmt: skip


STRUCTS = (WebhookWish, WebhookChange, WebhookRotation)
BODIES: dict[tuple[str, str], tuple[Any, Any]] = {
    ("post", WEBHOOKS): (WebhookWish, {"URL": "https://hooks.example/tender", "States": ["failed"]}),
    ("put", _ONE): (WebhookChange, {"Types": ["batch"], "Paused": False}),
    ("post", f"{_ONE}/rotate"): (WebhookRotation, {"Overlap": "24h"}),
}
WITHOUT = {("post", f"{_ONE}/test")}
"""Changing operations that take no body."""
