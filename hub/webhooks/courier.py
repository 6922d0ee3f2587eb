"""Brings deliveries to their receivers: a lane for each active webhook, few tries at once, at least once each."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress

from hub import audit
from hub.config import VERSION
from hub.store import deliveries
from hub.store import webhooks as store
from hub.store.records import JobRecord
from hub.store.webhook_records import DeliveryRecord, WebhookRecord, WebhookState
from hub.webhooks import retrying, signing
from hub.webhooks.registry import WebhookRegistry
from hub.webhooks.retrying import Answer, Result
from hub.webhooks.rules import host_of
from hub.webhooks.sending import Sender
from wire import failpoints
from wire.database import Connection, Database
from wire.failures import Conflict, NotFound

log = logging.getLogger(__name__)
AT_ONCE, EACH = 32, 4
"""Tries at one time, and those of one webhook; of one that fails, one."""
LOOK_AGAIN = 300.0
"""Seconds after which a quiet lane looks at the table without being told to."""
AGAIN = 5.0
"""Seconds after a fault of our own."""
HEADERS = {"Content-Type": "application/json", "User-Agent": f"tender-hub/{VERSION}", "Accept-Encoding": "identity"}
TEST_WAITS = 3600 * 10**9
"""A test is tried at once by whoever asks for it; a lane finds it only when the hub died meanwhile."""


class WebhookCourier:
    """`tried` hears how each try ended. What is due lies in the table: nothing here has to survive."""

    def __init__(
        self,
        database: Database,
        registry: WebhookRegistry,
        sender: Sender,
        tried: Callable[[Result], None],
        kept: int,
    ) -> None:
        self._db, self._registry, self.sender, self._tried, self._kept = database, registry, sender, tried, kept
        self._places = asyncio.Semaphore(AT_ONCE)
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._holds: dict[str, int] = {}
        self._changed = asyncio.Event()
        registry.changed = self.changed

    async def run(self) -> None:
        """Never returns."""
        try:
            while True:
                self._changed.clear()
                self._open_lanes()
                await self._changed.wait()
        finally:
            lanes = list(self._lanes.values())
            self._lanes.clear()
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    def job_over(self, job: JobRecord) -> None:
        """A job ended and its deliveries are committed."""
        for webhook_id in self._registry.told_of(job):
            self._news.setdefault(webhook_id, asyncio.Event()).set()

    def changed(self, webhook_id: str) -> None:
        """A webhook is another now, or gone."""
        record = self._registry.all.get(webhook_id)
        if record is None or not record.failures:
            self._holds.pop(webhook_id, None)
        self._news.setdefault(webhook_id, asyncio.Event()).set()
        self._changed.set()

    def _open_lanes(self) -> None:
        active = {one.id for one in self._registry.all.values() if one.state is WebhookState.ACTIVE}
        for webhook_id in [one for one, lane in self._lanes.items() if one not in active or lane.done()]:
            self._lanes.pop(webhook_id).cancel()
        for webhook_id in active - set(self._lanes):
            self._lanes[webhook_id] = asyncio.create_task(self._lane(webhook_id), name=f"webhook {webhook_id}")
        for webhook_id in set(self._news) - set(self._registry.all):
            del self._news[webhook_id]

    async def _lane(self, webhook_id: str) -> None:
        news = self._news.setdefault(webhook_id, asyncio.Event())
        while True:
            news.clear()
            try:
                rest = await self._round(webhook_id)
            except Exception:
                log.exception("%s: deliveries could not be looked at or written down; trying again", webhook_id)
                rest = AGAIN
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await news.wait()

    async def _round(self, webhook_id: str) -> float:
        """Try what is due; the seconds after which there may be something to do without news."""
        while (webhook := self._registry.all.get(webhook_id)) and webhook.state is WebhookState.ACTIVE:
            now, most = self._registry.now(), 1 if webhook.failures else EACH
            if deliveries.is_later(until := self._holds.get(webhook_id, 0), now):
                return min(LOOK_AGAIN, (until - now) / 1e9)
            ready, later = await self._db.read(lambda c, now=now, most=most: deliveries.due(c, webhook_id, now, most))
            if not ready:
                return min(LOOK_AGAIN, (later - now) / 1e9) if later is not None else LOOK_AGAIN
            async with asyncio.TaskGroup() as group:
                for delivery in ready:
                    group.create_task(self._deliver(webhook, delivery))
        return LOOK_AGAIN

    async def test(self, webhook: WebhookRecord) -> DeliveryRecord:
        """Send a message that says nothing but that it is a test, once; the delivery as it ended."""
        data = {"WebhookID": webhook.id, "Namespace": webhook.namespace}
        now = self._registry.now()
        body = deliveries.message("webhook.test", now, data)

        def write(connection: Connection) -> DeliveryRecord | None:
            audit.about(f"webhook {webhook.id}", host=host_of(webhook.url))
            made = deliveries.add(connection, webhook.id, "webhook.test", "", body, due=now + TEST_WAITS)
            return deliveries.delivery(connection, made)

        made = await self._db.write(write)
        if made is None:
            raise Conflict("too many deliveries wait for this webhook", hint="does its receiver answer?")
        await self._deliver(webhook, made)
        done = await self._db.read(lambda c: deliveries.delivery(c, made.id))
        if done is None:
            raise NotFound(f"webhook not found: {webhook.id}", hint="it was removed meanwhile")
        return done

    async def _deliver(self, webhook: WebhookRecord, delivery: DeliveryRecord) -> None:
        async with self._places:
            failpoints.at("webhook.before")
            answer = await self._post(webhook, delivery)
            failpoints.at("webhook.after")
        self._tried(answer.result)
        await self._db.write(lambda c: self._settle(c, webhook, delivery, answer), self._settled)

    def _settled(self, done: tuple[WebhookRecord, int] | None) -> None:
        """A try is written down; `done` is its webhook, and until when that is left alone."""
        if done is not None:
            webhook, until = done
            self._holds[webhook.id] = until
            self._registry.tried(webhook)

    async def _post(self, webhook: WebhookRecord, delivery: DeliveryRecord) -> Answer:
        timestamp = self._registry.now() // 10**9
        try:
            keys = self._registry.keys(webhook)
        except Conflict as locked:
            return Answer(Result.SEALED, message=locked.message)
        signed = signing.headers(keys, delivery.id, timestamp, delivery.body)
        return await self.sender.post(webhook.url, signed | HEADERS, delivery.body)

    def _settle(
        self, connection: Connection, tried: WebhookRecord, delivery: DeliveryRecord, answer: Answer
    ) -> tuple[WebhookRecord, int] | None:
        """Write down a try with what it means for the webhook. None when that was removed meanwhile."""
        known = store.webhook(connection, tried.id)
        if known is None:
            return None
        now, policy = self._registry.now(), self._registry.policy
        # What another address answered says nothing about the one that the webhook has now.
        after = retrying.webhook_after(known, answer, now, policy) if known.url == tried.url else known
        if after != known:
            store.save(connection, after)
        jitter = random.random()  # noqa: S311  spreads load, protects nothing
        step = retrying.delivery_after(delivery, answer, after, now, policy, jitter)
        deliveries.settle(connection, delivery.id, step, self._kept)
        if after.state is WebhookState.DISABLED and known.state is not WebhookState.DISABLED:
            deliveries.give_up(connection, known.id, after.message)
        wait = retrying.pause(after.failures, answer.retry_after, jitter) if after.failures else 0.0
        return after, now + int(wait * 1e9)
