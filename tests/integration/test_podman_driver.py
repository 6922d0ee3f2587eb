"""The driver child where no Podman is needed: started from anywhere, and missed without harm."""

import resource
from pathlib import Path

import pytest

from agent.executors.podman import PodmanExecutor
from wire.failures import ExecutionFailed


async def reason_of(executor: PodmanExecutor) -> str:
    try:
        with pytest.raises(ExecutionFailed) as caught:
            await executor.found()
        assert caught.value.reason.retryable
        return caught.value.reason.code
    finally:
        await executor.close()


async def test_a_folder_full_of_modules_is_not_where_the_driver_imports_from(tmp_path: Path, monkeypatch):
    for name in ("podman", "requests", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    assert await reason_of(PodmanExecutor(str(tmp_path / "none"), node="n-1")) == "runtime-unavailable"


async def test_a_driver_that_cannot_be_started_is_a_passing_trouble(tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # none is left to open
    try:
        assert await reason_of(PodmanExecutor(str(tmp_path / "none"), node="n-1")) == "driver-lost"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
