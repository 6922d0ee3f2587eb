"""Bacalhau's own Python SDK, pointed at a hub of the test, which is served over HTTP for it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from bacalhau_sdk.config import init_config
from bacalhau_sdk.jobs import Jobs


class Sdk:
    """The SDK's `Jobs`, and its clients by name. It blocks, so every call goes to a thread."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self._clients = [self.jobs.orchestrator_service.api_client]

    async def __call__(self, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return await asyncio.to_thread(call, *args, **more)

    def api(self, kind: type[Any]) -> Any:
        """Another part of the client that the SDK is made of, such as OpsApi."""
        made = kind(type(self._clients[0])(init_config()))
        self._clients.append(made.api_client)
        return made

    def close(self) -> None:
        for client in self._clients:
            client.rest_client.pool_manager.clear()
            client.pool.close()
            client.pool.join()


@contextlib.asynccontextmanager
async def sdk(url: str, folder: Path, patch: pytest.MonkeyPatch) -> AsyncGenerator[Sdk]:
    """The SDK as its users set it up: by environment."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    folder.mkdir(exist_ok=True)
    patch.setenv("BACALHAU_DIR", str(folder))
    patch.setenv("BACALHAU_API_HOST", host)
    patch.setenv("BACALHAU_API_PORT", port)
    made = Sdk()
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)
