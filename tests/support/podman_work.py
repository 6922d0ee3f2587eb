"""An executor on the test's Podman service, and orders for small shell programs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.executors.base import Handle, Work
from agent.executors.podman import PodmanExecutor
from tests.support.podman import IMAGE, TestPodman


def shell(folder: Path, script: str, execution_id: str = "e-1", **changes: Any) -> Work:
    """Work that runs `script` with sh in the tiny image; `params` are added to the engine's."""
    folder.mkdir(exist_ok=True)
    params = {"Image": IMAGE, "Parameters": ["sh", "-c", script], **changes.pop("params", {})}
    order: dict[str, Any] = {"job_id": "j-1", "engine": "docker", "params": params, **changes}
    return Work(execution_id=execution_id, folder=str(folder), **order)


@pytest.fixture(name="executor")
async def executor_fixture(podman: TestPodman) -> AsyncIterator[PodmanExecutor]:
    """As the agent has it, with short deadlines."""
    made = PodmanExecutor(podman.socket, node="node-1", deadline=10, pull=30, grace=1)
    yield made
    await made.close()


async def printed(folder: Path, executor: PodmanExecutor, handle: Handle, text: bytes) -> None:
    """Return when the program has printed `text`. The log is only read while somebody waits for the end."""
    waiting = asyncio.create_task(executor.wait(handle))
    stdout = folder / "results/stdout"
    try:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(lambda: stdout.exists() and text in stdout.read_bytes()):
                await asyncio.sleep(0.02)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
