"""A stranger with every right that a broker can give: reads and writes all topics, and has no order key."""

import contextlib
import os
import signal
from collections.abc import AsyncGenerator

from hub.pki import Pki
from tests.support.broker import client_context, issue
from tests.support.hub_process import HubProcess
from tests.support.mqtt import PlainClient
from tests.support.scenario import broker_pid, until

NAME = "stranger"


@contextlib.asynccontextmanager
async def full_rights(hub: HubProcess) -> AsyncGenerator[PlainClient]:
    """Its client, subscribed to nothing yet. The hub must not renew the broker's access list meanwhile."""
    folder = hub.folder / "broker"
    access = folder / "acl"
    access.write_text(f"{access.read_text()}user {NAME}\ntopic readwrite #\n")
    os.kill(broker_pid(hub), signal.SIGHUP)
    pki = Pki(hub.folder / "pki")
    context = client_context(pki, issue(pki, hub.folder / "strangers", NAME))
    async with PlainClient(int((folder / "port").read_text()), context, NAME) as client:
        await until(lambda: _is_let(client))
        yield client


async def _is_let(client: PlainClient) -> bool:
    """The broker reads its access list again in its own time."""
    return await client.code_of("stranger/here", b"") in {0, 16}
