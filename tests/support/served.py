"""The API of a hub bench on a real port, for what needs a connection: WebSockets, streams, clients that stall."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import msgspec

from hub.api.routes import make_api
from hub.server import ApiServer
from tests.support.hub_bench import HubBench


@contextlib.asynccontextmanager
async def served(bench: HubBench) -> AsyncGenerator[str]:
    """Serve; gives the URL."""
    server = ApiServer(msgspec.structs.replace(bench.config, api_port=0), None)
    task = asyncio.create_task(server.serve(make_api(bench.hub, patience=0.2)))
    try:
        yield server.url
    finally:
        server.stop()
        await asyncio.wait({task}, timeout=10)
        await task
