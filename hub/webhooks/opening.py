"""Webhooks put together as the tables hold them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hub.config import HubConfig
from hub.metrics import Metrics
from hub.store import deliveries, fleet
from hub.store import webhooks as store
from hub.store.webhook_records import WebhookRecord, WebhookState
from hub.webhooks.courier import WebhookCourier
from hub.webhooks.registry import WebhookRegistry
from hub.webhooks.retrying import Result
from hub.webhooks.sending import Sender
from hub.webhooks.signing import Vault
from wire.database import Connection, Database
from wire.files.wholefile import write_once

KEY = "pki/webhook.key"


@dataclass(frozen=True)
class Webhooks:
    """Who is told, and who tells them."""

    registry: WebhookRegistry
    courier: WebhookCourier


async def open_webhooks(config: HubConfig, database: Database, metrics: Metrics, url: str) -> Webhooks:
    """Read them; nothing is sent before the courier runs. `url`: where bodies say that this hub is."""

    def read(connection: Connection) -> list[WebhookRecord]:
        fleet.set_meta(connection, deliveries.HUB_URL, url)
        return store.webhooks(connection)

    records = await database.write(read)
    vault = Vault(write_once(config.data_dir / KEY, os.urandom(32)))
    registry = WebhookRegistry(database, records, vault, config.policy.webhooks)
    for result in Result:
        metrics.deliveries.labels(result.value)

    def tried(result: Result) -> None:
        metrics.deliveries.labels(result.value).inc()

    metrics.registry.register(_States(registry))
    sender = Sender(config.policy.webhooks)
    return Webhooks(registry, WebhookCourier(database, registry, sender, tried, config.keep.most_deliveries))


class _States(Collector):
    """How many webhooks there are, by state."""

    def __init__(self, registry: WebhookRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("tender_webhooks", "Webhooks by state.", labels=["state"])
        found = [one.state for one in self._registry.all.values()]
        for state in WebhookState:
            family.add_metric([state.value], found.count(state))
        yield family
