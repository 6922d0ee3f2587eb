"""Receivers of webhooks, and a hub on the bench that may tell them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from hub.policy import Policy, WebhookPolicy
from tests.support.hookserver import HookServer
from tests.support.hub_bench import HubBench, hub_bench, until
from wire import clock

DAY = 86_400
POLICY = Policy(webhooks=WebhookPolicy(allow=["127.0.0.1", "receiver.test"], plain_http=True))


def told(server: HookServer) -> list[tuple[dict[str, str], bytes]]:
    """Headers and body of each message that came."""
    return [(headers_of(head), body) for head, body in server.requests]


def headers_of(head: str) -> dict[str, str]:
    pairs = [line.split(": ", 1) for line in head.split("\r\n")[1:] if line]
    return {name.lower(): value for name, value in pairs}


def verified(secret: str, message: tuple[dict[str, str], bytes]) -> dict[str, Any]:
    """The body, if the signature is right. Raises what the specification's own library raises."""
    headers, body = message
    Webhook(secret).verify(body, headers)
    return json.loads(body)


class Teller:
    """A bench whose courier is started by hand, and whose time moves by days when a test says so."""

    def __init__(self, bench: HubBench) -> None:
        self.bench = bench
        self._later = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.bench.hub.webhooks.registry.now = lambda: clock.unix_ns() + self._later
        self._task = asyncio.create_task(self.bench.hub.webhooks.courier.run())

    async def die(self) -> None:
        """As a kill of the hub: what was under way is forgotten, what was committed is there at the next start."""
        await self.bench.restart()
        self._task = None

    def pass_time(self, seconds: float) -> None:
        """So much later; lanes look again."""
        self._later += int(seconds * 1e9)
        for webhook_id in self.bench.hub.webhooks.registry.all:
            self.bench.hub.webhooks.courier.changed(webhook_id)

    async def add(self, port: int, **wish: Any) -> tuple[str, str]:
        """A webhook to a receiver here; its id and secret."""
        wish = {"URL": f"http://127.0.0.1:{port}/told", **wish}
        answer = await self.bench.call("POST", "/api/v1/webhooks", json=wish)
        assert answer.status_code == 200, answer.text
        return answer.json()["Webhook"]["ID"], answer.json()["Secret"]

    async def webhook(self, webhook_id: str) -> dict[str, Any]:
        return (await self.bench.get(f"/api/v1/webhooks/{webhook_id}"))["Webhook"]

    async def deliveries(self, webhook_id: str, **query: Any) -> list[dict[str, Any]]:
        return (await self.bench.get(f"/api/v1/webhooks/{webhook_id}/deliveries", **query))["Items"]

    async def ends(self, webhook_id: str, count: int = 1) -> list[dict[str, Any]]:
        """The deliveries, once so many are over."""
        async with asyncio.timeout(60):
            while True:
                found = await self.deliveries(webhook_id, limit=1000)
                if sum(one["State"] != "waiting" for one in found) >= count:
                    return found
                await asyncio.sleep(0.01)

    async def tried(self, webhook_id: str, tries: int) -> dict[str, Any]:
        """The oldest delivery, once it was tried so often."""
        async with asyncio.timeout(60):
            while (found := (await self.deliveries(webhook_id, limit=1000))[-1])["Tries"] < tries:
                await asyncio.sleep(0.01)
        return found

    async def job(self, job: dict[str, Any]) -> str:
        """Submit it and wait for its end."""
        job_id = await self.bench.submit(job)
        await self.bench.finished(job_id)
        return job_id


@contextlib.asynccontextmanager
async def teller(
    folder: Path, *, running: bool = True, policy: Policy = POLICY, **config: Any
) -> AsyncGenerator[Teller]:
    async with hub_bench(folder, policy=policy, **config) as bench:
        made = Teller(bench)
        if running:
            made.start()
        yield made


async def came(server: HookServer, count: int) -> list[tuple[dict[str, str], bytes]]:
    """The messages, once there are so many."""
    await until(lambda: len(server.requests) >= count)
    return told(server)
