"""The transfer child as a process: kept warm, ended when idle, gone when the core is gone."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from agent.files.transfer import Transfers
from agent.files.transfer_orders import Download
from tests.support.web import answer, web_server
from wire.failures import ExecutionFailed


def order(url: str, into: Path, name: str = "f") -> Download:
    return Download(url=url, into=str(into), name=name, allow=("127.0.0.1",))


async def test_a_warm_child_takes_the_next_order_and_an_idle_one_leaves(tmp_path):
    transfers = Transfers(idle=1.0)
    pids: list[int] = []
    async with web_server() as site:
        site.pages["*"] = [answer("200 OK", b"data")]
        for name in ("a", "b"):
            values = await transfers.run(
                order(site.url, tmp_path, name), deadline=60, moved=lambda _: pids.extend(transfers.pids())
            )
            assert values["size"] == "4"
    assert len(set(pids)) == 1
    async with asyncio.timeout(60):
        while Path(f"/proc/{pids[0]}/stat").exists():
            await asyncio.sleep(0.05)
    await transfers.close()


async def test_a_child_that_died_while_it_rested_is_replaced(tmp_path):
    transfers = Transfers()
    async with web_server() as site:
        site.pages["*"] = [answer("200 OK", b"data")]
        pids: list[int] = []
        await transfers.run(order(site.url, tmp_path), deadline=60, moved=lambda _: pids.extend(transfers.pids()))
        os.kill(pids[0], signal.SIGKILL)
        async with asyncio.timeout(60):
            while transfers.resting():
                await asyncio.sleep(0.02)
        assert (await transfers.run(order(site.url, tmp_path), deadline=60))["size"] == "4"
    await transfers.close()


async def test_a_cancelled_order_ends_its_child(tmp_path):
    transfers = Transfers()
    asked = asyncio.Event()

    async def silent(_head: str, _writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with web_server() as site:
        site.scripts["/"] = silent
        task = asyncio.create_task(transfers.run(order(site.url + "/", tmp_path), deadline=60))
        async with asyncio.timeout(60):
            await asked.wait()
        [pid] = transfers.pids()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not Path(f"/proc/{pid}").exists()
    await transfers.close()


async def test_closing_fails_the_orders_under_way(tmp_path):
    transfers = Transfers()
    asked = asyncio.Event()

    async def silent(_head: str, _writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with web_server() as site:
        site.scripts["/"] = silent
        task = asyncio.create_task(transfers.run(order(site.url + "/", tmp_path), deadline=60))
        async with asyncio.timeout(60):
            await asked.wait()
            await transfers.close()
            with pytest.raises(ExecutionFailed, match="ended early"):
                await task


@pytest.mark.parametrize("last", [b"", b"not json\n", b'{"type":"download"}\n', b"x" * 300_000])
async def test_a_child_leaves_when_its_orders_end_or_make_no_sense(last):
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "agent.workers.transfer",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    async with asyncio.timeout(60):
        await child.communicate(last)
    assert child.returncode is not None


async def test_the_core_needs_no_library_of_the_children():
    banned = {"boto3", "botocore", "httpx", "podman", "wasmtime", "cryptography", "pydantic"}
    script = (
        "import sys, agent.files.transfer, agent.inputs.http, agent.inputs.inline, agent.inputs.local,"
        " agent.publishers.s3, agent.publishers.local\n"
        f"print(sorted({banned!r} & set(sys.modules)))"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    out, _ = await child.communicate()
    assert out == b"[]\n"
