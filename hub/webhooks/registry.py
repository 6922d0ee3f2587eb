"""The webhooks of a hub: added, changed, given new secrets, removed; in memory, following their table."""

import logging
from collections.abc import Callable, Sequence

import msgspec

from hub import audit
from hub.access.callers import Caller
from hub.jobs.ids import new_id
from hub.policy import WebhookPolicy
from hub.store import deliveries
from hub.store import webhooks as store
from hub.store.records import JobRecord
from hub.store.webhook_records import EVERYWHERE, Filter, WebhookRecord, WebhookState
from hub.webhooks import signing
from hub.webhooks.rules import check_url, host_of
from wire import clock
from wire.database import Connection, Database
from wire.failures import Conflict, InvalidRequest, NotFound
from wire.quantities import format_duration

log = logging.getLogger(__name__)
MOST, MOST_EACH = 1000, 50
"""Webhooks of a hub, and of one namespace."""
OVERLAP_MOST = 30 * 86_400.0
"""Seconds for which an old secret goes on signing, at most."""
Change = Callable[[WebhookRecord], WebhookRecord]


class WebhookRegistry:
    """`changed` is called with the id of a webhook that is another now, or gone."""

    def __init__(
        self,
        database: Database,
        records: Sequence[WebhookRecord],
        vault: signing.Vault,
        policy: WebhookPolicy,
        now_ns: Callable[[], int] = clock.unix_ns,
    ) -> None:
        self._db, self._vault, self.policy, self.now = database, vault, policy, now_ns
        self.all = {record.id: record for record in records}
        self._of: dict[str, list[str]] = {}
        self.changed: Callable[[str], None] = lambda _webhook_id: None
        self._sort()

    def told_of(self, job: JobRecord) -> list[str]:
        """The webhooks that are told of this end. Without webhooks this is two look-ups."""
        found = [self.all[one] for space in (job.namespace, EVERYWHERE) for one in self._of.get(space, ())]
        return [one.id for one in found if one.filter.fits(job.state, job.type, job.spec.labels)]

    def find(self, name: str, caller: Caller) -> WebhookRecord:
        """A webhook by id or its unique beginning, among those that the caller has part in. Raises NotFound."""
        found = [one for one in self.all.values() if caller.sees(one.namespace) and one.id.startswith(name)]
        exact = [one for one in found if one.id == name]
        if len(exact or found) == 1 and len(name) >= 3:
            return (exact or found)[0]
        raise NotFound(f"webhook not found: {name[:80]}", hint="tender webhook list shows all")

    def keys(self, record: WebhookRecord) -> list[str]:
        """The secrets that sign now. Raises Conflict when they do not open."""
        keys = [self._vault.open(record.secret, record.id)]
        if record.old_secret is not None and self.now() < record.old_until:
            keys.append(self._vault.open(record.old_secret, record.id))
        return keys

    async def add(self, namespace: str, url: str, wanted: Filter) -> tuple[WebhookRecord, str]:
        """A new webhook, and its secret, which is told this once. Raises InvalidRequest and Conflict."""
        check_url(url, self.policy)
        webhook_id, secret, now = new_id("w"), signing.new_secret(), self.now()
        record = WebhookRecord(
            id=webhook_id,
            namespace=namespace,
            url=url,
            filter=wanted,
            secret=self._vault.seal(secret, webhook_id),
            created=now,
            modified=now,
        )

        def write(connection: Connection) -> WebhookRecord:
            total, here = store.count(connection, namespace)
            if total >= MOST or here >= MOST_EACH:
                raise Conflict(
                    f"there are {here} webhooks in {namespace[:80]}, {total} in all",
                    hint=f"at most {MOST_EACH} and {MOST}; remove some: tender webhook remove",
                )
            audit.about(f"webhook {webhook_id}", namespace=namespace, host=host_of(url))
            store.insert(connection, record)
            return record

        return await self._db.write(write, self._keep), secret

    async def change(self, webhook_id: str, *, url: str | None, wanted: Filter, paused: bool | None) -> WebhookRecord:
        """Another address or filter; pause it, or let it go on from where it was. What is None stays."""
        if url is not None:
            check_url(url, self.policy)

        def change(record: WebhookRecord) -> WebhookRecord:
            state, message = record.state, record.message
            if paused is not None:
                state = WebhookState.PAUSED if paused else WebhookState.ACTIVE
                message = "paused by hand" if paused else ""
            changed = msgspec.structs.replace(record, filter=wanted, state=state, message=message)
            if url is None and paused is not False:
                return changed
            # Another address, or another chance: what failed before says nothing about it.
            return msgspec.structs.replace(changed, url=url or record.url, failures=0, failing_since=0)

        def write(connection: Connection) -> WebhookRecord:
            record = self._changed(connection, webhook_id, change)
            audit.about(f"webhook {webhook_id}", host=host_of(record.url), state=record.state)
            if paused is False:
                deliveries.try_now(connection, webhook_id, self.now())
            return record

        return await self._db.write(write, self._keep)

    async def rotate(self, webhook_id: str, overlap: float) -> tuple[WebhookRecord, str]:
        """A new secret, told this once; the old one signs too for `overlap` seconds. Raises InvalidRequest."""
        if not 0 <= overlap <= OVERLAP_MOST:
            raise InvalidRequest(
                f"the old secret cannot stay for {format_duration(overlap)}",
                hint=f"at most {format_duration(OVERLAP_MOST)}",
                details={"Field": "Overlap"},
            )
        secret = signing.new_secret()
        sealed = self._vault.seal(secret, webhook_id)

        def change(record: WebhookRecord) -> WebhookRecord:
            until = self.now() + int(overlap * 1e9)
            old = record.secret if overlap else None
            return msgspec.structs.replace(record, secret=sealed, old_secret=old, old_until=until if overlap else 0)

        def write(connection: Connection) -> WebhookRecord:
            audit.about(f"webhook {webhook_id}", secret="replaced")  # noqa: S106  a word
            return self._changed(connection, webhook_id, change)

        return await self._db.write(write, self._keep), secret

    async def remove(self, webhook_id: str) -> None:
        """Forget it with all that waits for it."""

        def write(connection: Connection) -> None:
            audit.about(f"webhook {webhook_id}")
            store.delete(connection, webhook_id)

        await self._db.write(write, lambda _: self._drop(webhook_id))

    def tried(self, record: WebhookRecord) -> None:
        """A try was written down, and may have changed its webhook."""
        known = self.all.get(record.id)
        if known is None or record == known:
            return
        if record.state is not known.state:
            log.warning("webhook %s to %s is %s: %s", record.id, host_of(record.url), record.state, record.message)
        self._keep(record)

    def _changed(self, connection: Connection, webhook_id: str, change: Change) -> WebhookRecord:
        known = store.webhook(connection, webhook_id)
        if known is None:
            raise NotFound(f"webhook not found: {webhook_id}", hint="tender webhook list shows all")
        record = msgspec.structs.replace(change(known), modified=self.now())
        store.save(connection, record)
        return record

    def _keep(self, record: WebhookRecord) -> None:
        self.all[record.id] = record
        self._sort()
        self.changed(record.id)

    def _drop(self, webhook_id: str) -> None:
        self.all.pop(webhook_id, None)
        self._sort()
        self.changed(webhook_id)

    def _sort(self) -> None:
        self._of.clear()
        for record in self.all.values():
            if record.state is WebhookState.ACTIVE:
                self._of.setdefault(record.namespace, []).append(record.id)
