"""The API of a hub bench on a real port, for what needs a connection: WebSockets, streams, clients that stall."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import msgspec

from hub.server import ApiServer
from tests.support.hub_bench import HubBench
from tests.support.lent_api import give_back, lend
from tests.support.scenario import until


@contextlib.asynccontextmanager
async def served(bench: HubBench, patience: float = 0.2) -> AsyncGenerator[str]:
    """Serve; gives the URL. `patience`: seconds that a body may take."""
    server = ApiServer(msgspec.structs.replace(bench.config, api_port=0), None)
    api = lend(bench.hub, patience)
    task = asyncio.create_task(server.serve(api))
    try:
        await until(lambda: _answers(server.port))
        yield server.url
    finally:
        server.stop()
        await asyncio.wait({task}, timeout=10)
        await task
        give_back(api)


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
