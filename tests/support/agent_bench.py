"""An enrolled agent in this process, or as a process of its own, on a real broker with a scripted hub."""

import asyncio
import contextlib
import hashlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from agent import app
from agent.identity import Identity, Joined, load_or_make
from agent.parts import Parts
from agent.settings.config import AgentConfig, read
from agent.store.store import Store
from tests.support.broker import BrokerBench, broker_bench, make_csr
from tests.support.hub_double import HubDouble
from wire.database import Database
from wire.enrolment import EnrolmentReply
from wire.signing import Signer
from wire.states import Membership

__all__ = ["AgentBench", "agent_bench", "eventually", "rewrite", "stored"]
ROOT = Path(__file__).parents[2]


def enrolled(bench: BrokerBench, data: Path, hub: Signer) -> Identity:
    """The files that enrolment leaves, without the HTTP of it."""
    identity = load_or_make(data)
    csr, key = make_csr(identity.node_id)
    signed = bench.pki.sign_csr(csr, identity.node_id)
    identity.folder.mkdir(parents=True, exist_ok=True)
    identity.tls_key.write_bytes(key)
    reply = EnrolmentReply(
        node_id=identity.node_id,
        certificate=signed.pem,
        ca=bench.pki.ca_pem,
        brokers=[f"localhost:{bench.port}"],
        hub_id=bench.hub_id,
        hub_order_key=hub.public.hex(),
        root=bench.root,
        membership=Membership.APPROVED,
        renew_at=2**40,
        not_after=2**40,
    )
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(bench.pki.ca_pem)).hexdigest()
    identity.keep(Joined(url="http://127.0.0.1:1", ca_sha256=pin, reply=reply))
    return identity


class AgentBench:
    """`async with bench.agent() as parts:` or `await bench.spawn()`; `hub` hears and speaks all the while."""

    def __init__(self, broker: BrokerBench, folder: Path) -> None:
        self.broker, self.data = broker, folder / "agent"
        self._hub_key = Signer(os.urandom(32))
        self.identity = enrolled(broker, self.data, self._hub_key)
        self.hub = HubDouble(broker, self.identity.node_id, self.identity.signer.public, self._hub_key)
        self.process: asyncio.subprocess.Process | None = None
        self.settings: dict[str, Any] = {"link": {"profile": "lan"}, "engines": {"disabled": ["podman"]}}

    def config(self, **changes: Any) -> AgentConfig:
        return read({"data_dir": str(self.data), **self.settings, **changes})

    @contextlib.asynccontextmanager
    async def agent(self, **changes: Any) -> AsyncGenerator[Parts]:
        """Run it in this process. Left with the end of the block as by SIGTERM."""
        joined = self.identity.enrolment()
        assert joined is not None
        stop = asyncio.Event()
        made: asyncio.Future[Parts] = asyncio.get_running_loop().create_future()
        work = app.serve(
            self.config(**changes), self.identity, joined, stop, lambda _: None, with_fake=True, built=made.set_result
        )
        running = asyncio.create_task(work)
        try:
            await asyncio.wait({running, made}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            yield made.result()
        finally:
            stop.set()
            await running

    async def broker_away(self) -> None:
        """End the broker and with it the hub's connection."""
        await self.hub.__aexit__(None, None, None)
        await self.broker.broker.__aexit__(None, None, None)

    async def broker_back(self) -> None:
        """The same broker on the same port; the hub listens again."""
        await self.broker.broker.__aenter__()
        await self.hub.__aenter__()

    async def spawn(self) -> int:
        """Run it as a process of its own; returns its pid."""
        config = self.data.parent / "agent.toml"
        config.write_text(
            '[link]\nprofile = "lan"\n[engines]\ndisabled = ["podman"]\n'
            f'[inputs]\nallow_listed_local_paths = ["{config.parent}/**:rw", "{config.parent}:rw"]\n'
        )
        with (self.data.parent / "agent.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "agent", "run", "--data-dir", str(self.data), "--config", str(config),
                "--fake-engine", stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL, cwd=ROOT,
            )  # fmt: skip
        return self.process.pid

    async def end(self, number: int = signal.SIGKILL) -> int:
        """End the spawned process; returns its exit code."""
        assert self.process is not None
        process, self.process = self.process, None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        async with asyncio.timeout(60):
            return await process.wait()


async def eventually(what: Callable[[], Any]) -> None:
    """Wait until `what` holds; for what no message tells."""
    async with asyncio.timeout(60):
        while not what():
            await asyncio.sleep(0.01)


async def stored(data: Path) -> Store:
    """The store of an agent that does not run now."""
    store = Store(data / "agent.db")
    await store.open()
    return store


async def rewrite(data: Path, statement: str) -> None:
    """Change what an agent that does not run now has stored, as only time or fate would."""
    database = Database(data / "agent.db")
    database.open()
    try:
        await database.write(lambda connection: connection.execute(statement).rowcount)
    finally:
        database.close()


@pytest_asyncio.fixture(name="bench")
async def agent_bench(tmp_path: Path) -> AsyncIterator[AgentBench]:
    """A broker, a scripted hub that listens, and an enrolled agent that does not run yet."""
    async with broker_bench(tmp_path) as broker:
        made = AgentBench(broker, tmp_path)
        async with made.hub:
            try:
                yield made
            finally:
                if made.process is not None:
                    await made.end()
