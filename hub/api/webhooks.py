"""Routes of webhooks: who is told when jobs end, how it goes, and a test."""

from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Router, delete, get, post, put
from litestar.params import FromPath, FromQuery, QueryParameter

from hub.access.callers import check_namespaces
from hub.api.bodies import Req, read_body
from hub.api.gate import caller_of
from hub.api.jobs import hub_of
from hub.api.paging import LIMIT_MOST, page_of, page_token
from hub.store import deliveries
from hub.store import webhooks as store
from hub.store.webhook_records import DeliveryRecord, DeliveryState, Numbers, WebhookRecord
from hub.webhooks.rules import filter_of, shown_url
from wire import clock
from wire.failures import InvalidRequest
from wire.quantities import parse_duration

SMALL = 64 * 1024
T = TypeVar("T")


class WebhookWish(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """A webhook as somebody asks for it; empty lists are all. `*` is every namespace."""

    url: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(name="URL")
    namespace: str = "default"
    states: list[str] = []
    types: list[str] = []
    labels: dict[str, str] = {}


class WebhookChange(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """What is to be another; null or nothing stays. `Paused` false lets a paused or disabled one go on."""

    url: str | None = msgspec.field(name="URL", default=None)
    states: list[str] | None = None
    types: list[str] | None = None
    labels: dict[str, str] | None = None
    paused: bool | None = None


class WebhookRotation(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """How long the old secret signs beside the new one."""

    overlap: str | float = "24h"


def shape_webhook(record: WebhookRecord, numbers: Numbers) -> dict[str, Any]:
    """A webhook without its secrets."""
    return {
        "ID": record.id,
        "Namespace": record.namespace,
        "URL": shown_url(record.url),
        "States": record.filter.states,
        "Types": record.filter.types,
        "Labels": record.filter.labels,
        "State": record.state.value,
        "Message": record.message,
        "Failures": record.failures,
        "FailingSince": clock.rfc3339(record.failing_since) if record.failing_since else "",
        "OldSecretUntil": clock.rfc3339(record.old_until) if record.old_until else "",
        "Waiting": numbers.waiting,
        "Ended": numbers.ended,
        "Dropped": numbers.dropped,
        "CreateTime": clock.rfc3339(record.created),
        "ModifyTime": clock.rfc3339(record.modified),
    }


def shape_delivery(record: DeliveryRecord) -> dict[str, Any]:
    """A delivery without its body. `Due`: when it is tried next."""
    return {
        "ID": record.id,
        "Type": record.type,
        "JobID": record.job_id,
        "State": record.state.value,
        "Tries": record.tries,
        "Status": record.status,
        "Message": record.message,
        "Due": clock.rfc3339(record.due) if record.state is DeliveryState.WAITING else "",
        "CreateTime": clock.rfc3339(record.created),
        "ModifyTime": clock.rfc3339(record.modified),
    }


async def _read(request: Req, kind: type[T], example: str) -> T:
    body = await read_body(request, SMALL)
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"not understood: {error}", hint=f"send {example}") from None


async def _shown(request: Req, records: list[WebhookRecord]) -> list[dict[str, Any]]:
    numbers = await hub_of(request).database.read(store.numbers)
    return [shape_webhook(one, numbers.get(one.id, Numbers())) for one in records]


def _find(request: Req, name: str) -> WebhookRecord:
    return hub_of(request).webhooks.registry.find(name, caller_of(request))


@get("/")
async def list_webhooks(request: Req, namespace: FromQuery[str] = "") -> dict[str, Any]:
    """All webhooks of the caller's namespaces, or of one."""
    caller, registry = caller_of(request), hub_of(request).webhooks.registry
    if namespace:
        caller.check_namespace(namespace)
    chosen = [one for one in registry.all.values() if caller.sees(one.namespace) and namespace in {"", one.namespace}]
    return {"NextToken": "", "Items": await _shown(request, chosen)}


@post("/", status_code=200)
async def add_webhook(request: Req) -> dict[str, Any]:
    """Be told of the ends of jobs at a URL. The answer holds the secret that signs, which is told this once."""
    wish = await _read(request, WebhookWish, '{"URL": "https://hooks.example/tender"}')
    check_namespaces([wish.namespace], "Namespace")
    caller_of(request).check_namespace(wish.namespace)
    wanted = filter_of(wish.states, wish.types, wish.labels)
    record, secret = await hub_of(request).webhooks.registry.add(wish.namespace, wish.url, wanted)
    return {"Webhook": (await _shown(request, [record]))[0], "Secret": secret}


@get("/{name:str}")
async def get_webhook(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """One webhook by id or its unique beginning."""
    return {"Webhook": (await _shown(request, [_find(request, name)]))[0]}


@put("/{name:str}", status_code=200)
async def change_webhook(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Give it another URL or filter, pause it, or let it go on: what waited is sent then."""
    known, wish = _find(request, name), await _read(request, WebhookChange, '{"Paused": false}')
    old = known.filter
    wanted = filter_of(
        old.states if wish.states is None else wish.states,
        old.types if wish.types is None else wish.types,
        old.labels if wish.labels is None else wish.labels,
    )
    registry = hub_of(request).webhooks.registry
    record = await registry.change(known.id, url=wish.url, wanted=wanted, paused=wish.paused)
    return {"Webhook": (await _shown(request, [record]))[0]}


@delete("/{name:str}", status_code=200)
async def remove_webhook(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Remove it with all that waits for it."""
    await hub_of(request).webhooks.registry.remove(_find(request, name).id)
    return {"Success": True}


@post("/{name:str}/rotate", status_code=200)
async def rotate_webhook(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Make a new secret, told this once; for `Overlap` messages carry a signature of the old one too."""
    known, wish = _find(request, name), await _read(request, WebhookRotation, '{"Overlap": "24h"}')
    record, secret = await hub_of(request).webhooks.registry.rotate(known.id, parse_duration(wish.overlap))
    return {"Webhook": (await _shown(request, [record]))[0], "Secret": secret}


@post("/{name:str}/test", status_code=200)
async def test_webhook(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Send a test message once and say what came of it."""
    return {"Delivery": shape_delivery(await hub_of(request).webhooks.courier.test(_find(request, name)))}


@get("/{name:str}/deliveries")
async def list_deliveries(
    request: Req,
    name: FromPath[str],
    limit: Annotated[int, QueryParameter(ge=0, le=LIMIT_MOST)] = 50,
    next_token: FromQuery[str] = "",
    wanted: Annotated[str, QueryParameter(name="state")] = "",
) -> dict[str, Any]:
    """What was sent or waits, the newest first."""
    if wanted and wanted not in set(DeliveryState):
        hint = f"one of: {', '.join(DeliveryState)}"
        raise InvalidRequest(f"no delivery is ever {wanted[:50]!r}", hint=hint, details={"Field": "state"})
    known, page = _find(request, name), page_of(limit or 50, next_token, "", "", {"": "created"})
    found = await hub_of(request).database.read(
        lambda c: deliveries.of_webhook(c, known.id, wanted, page.limit + 1, page.offset)
    )
    more = page_token(page, page.offset + page.limit) if len(found) > page.limit else ""
    return {"NextToken": more, "Items": [shape_delivery(one) for one in found[: page.limit]]}


router = Router(
    path="/api/v1/webhooks",
    route_handlers=[
        list_webhooks,
        add_webhook,
        get_webhook,
        change_webhook,
        remove_webhook,
        rotate_webhook,
        test_webhook,
        list_deliveries,
    ],
    tags=["webhooks"],
)
