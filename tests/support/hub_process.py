"""A real hub with its managed broker as a child process of the test."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Self

import httpx


class HubProcess:
    """`async with HubProcess(folder) as hub:`; `kill9` and `start` again keep the data and the port."""

    launcher: tuple[str, ...] = ("-m",)
    """What the interpreter is given before the name of the module."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self._options = folder, options
        self.more: dict[str, str] = {}  # added to its environment
        self._port = "0"
        self.process: asyncio.subprocess.Process | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *self.launcher, "hub", "serve", "--data-dir", str(self.folder),
                "--api-port", self._port, "--auto-approve", *self._options,
                stdout=asyncio.subprocess.PIPE, stderr=log, stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, **self.more},
            )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            line = (await self.process.stdout.readline()).decode()
        assert line.startswith("ready "), (line, (self.folder / "log").read_text()[-3000:])
        self.url = line.split()[1]
        self._port = self.url.rpartition(":")[2]
        assert json.loads(ready.read_text())["url"] == self.url

    async def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            os.kill(self.process.pid, number)
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def kill9(self) -> None:
        await self.stop(signal.SIGKILL)

    async def __aenter__(self) -> Self:
        await self.start()
        self.client = httpx.AsyncClient(base_url=self.url, timeout=70)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.stop()

    async def token(self) -> str:
        answer = await self.client.post("/api/v1/orchestrator/nodes/token")
        assert answer.status_code == 200, answer.text
        return answer.json()["Token"]

    async def submit(self, job: dict[str, Any], **query: str) -> str:
        answer = await self.client.put("/api/v1/orchestrator/jobs", json={"Job": job}, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["JobID"]

    async def get(self, path: str, **query: str) -> Any:
        answer = await self.client.get(f"/api/v1/orchestrator/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def finished(self, job_id: str) -> dict[str, Any]:
        """The job once it is terminal; fails after a minute."""
        return (await self.get(f"jobs/{job_id}", wait="60s"))["Job"]


PATIENT = {"Bidding": {"Window": "60s"}}
"""For an auction that ends when all have answered, however slow they are."""


def wasm_job(**fields: Any) -> dict[str, Any]:
    """The smallest valid job: an empty module, inlined."""
    return {
        "Type": "batch",
        "Tasks": [
            {
                "Engine": {"Type": "wasm", "Params": {"EntryModule": "m.wasm"}},
                "InputSources": [
                    {
                        "Target": "m.wasm",
                        "Source": {"Type": "inline", "Params": {"URL": "data:application/wasm;base64,AGFzbQEAAAA="}},
                    }
                ],
            }
        ],
        **fields,
    }
