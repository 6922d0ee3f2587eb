"""A whole fleet in one foreground process tree: hub, managed broker and nodes, for trying things and for tests."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hub.devstack.children import Child
from hub.devstack.nodes import NodePlan
from wire import clock
from wire.failures import Conflict, InvalidRequest, TenderError, Unavailable
from wire.files.only_one import only_one
from wire.files.wholefile import write_whole

JOBS = "/api/v1/orchestrator/jobs"
NODES = "/api/v1/orchestrator/nodes"
START_SECONDS = 60.0
LOOK = 0.05
Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What the command line says. Port 0 takes a free one and keeps it for the next start."""

    data_dir: Path
    api_port: int
    nodes: list[NodePlan]
    policy: Path | None = None


async def run(settings: Settings, say: Say) -> None:
    """Run the fleet until SIGINT or SIGTERM. Raises TenderError when it cannot be started or kept."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_one(settings.data_dir / "lock", "devstack", "stop it, or give another --data-dir"):
        stack = _Stack(settings, say)
        try:
            await stack.until(stop, stack.start())
            if not stop.is_set():
                await stack.until(stop, asyncio.Event().wait())
            await stack.tell_what_goes_on()
        finally:
            await stack.stop()
        say(f"stopped; with --data-dir {settings.data_dir} the next start goes on where this one was")


class _Stack:
    """The children and what keeps them alive."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings, self._say = settings, say
        home = settings.data_dir
        self._ready_file = home / "ready.json"
        self._port = _port(home / "port", settings.api_port)
        hub_argv = [
            "-m", "hub", "serve",
            "--data-dir", str(home / "hub"),
            "--api-host", "127.0.0.1", "--api-port", str(self._port),
            "--broker", "managed", "--auto-approve",
            *(["--policy", str(settings.policy)] if settings.policy else []),
        ]  # fmt: skip
        self._hub = Child("hub", hub_argv, home / "logs" / "hub.log")
        self._agents = [Child(n.name, n.argv, home / "logs" / f"{n.name}.log") for n in settings.nodes]
        self._keepers: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Hub first, then all nodes at once, then wait until jobs can run."""
        began = clock.monotonic()
        self._ready_file.unlink(missing_ok=True)
        await self._up(self._hub)
        url = await self._hub_url()
        for node, child in zip(self._settings.nodes, self._agents, strict=True):
            token = await asyncio.to_thread(_call, url, "POST", f"{NODES}/token", {"Approve": True})
            node.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_secret(node.token_file, str(token["Token"]))
            await self._up(child)
        await self._all_online(url)
        for node in self._settings.nodes:
            node.token_file.unlink(missing_ok=True)
        names = [node.name for node in self._settings.nodes]
        write_whole(self._ready_file, json.dumps({"url": url, "pid": os.getpid(), "nodes": names}).encode())
        self._say(f"hub and {len(names)} nodes in {clock.monotonic() - began:.1f} s; logs in {self._hub.log.parent}")
        self._say(f"ready {url}")

    async def _up(self, child: Child) -> None:
        await child.start()
        keeper = asyncio.create_task(child.keep(self._say), name=child.name)
        keeper.add_done_callback(self._kept)
        self._keepers.append(keeper)

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        error = None if keeper.cancelled() else keeper.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def until(self, stop: asyncio.Event, work: Awaitable[object]) -> None:
        """Do `work`, unless told to stop before; raise what a child fails with meanwhile."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({working, stopping, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            for done in (self._failed, working):
                if done.done():
                    done.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _hub_url(self) -> str:
        ready = self._settings.data_dir / "hub" / "ready.json"
        async with self._patience(self._hub, "the hub"):
            while True:
                with contextlib.suppress(OSError, ValueError, KeyError):
                    told = json.loads(ready.read_text())
                    if self._hub.process is not None and told["pid"] == self._hub.process.pid:
                        return str(told["url"])
                await asyncio.sleep(LOOK)

    async def _all_online(self, url: str) -> None:
        """Until every node is connected, approved, and has said what it can do."""
        names = {node.name for node in self._settings.nodes}
        async with self._patience(self._agents[0] if self._agents else self._hub, "the nodes"):
            while True:
                if names <= await asyncio.to_thread(_able, url):
                    return
                await asyncio.sleep(LOOK)

    @contextlib.asynccontextmanager
    async def _patience(self, child: Child, what: str):  # noqa: ANN202
        try:
            async with asyncio.timeout(START_SECONDS):
                yield
        except TimeoutError:
            raise Unavailable(
                f"{what} did not come up in {START_SECONDS:.0f} s:\n{child.tail()}", hint=f"see {child.log.parent}"
            ) from None

    async def tell_what_goes_on(self) -> None:
        """Work outlives its agent, here as on a box: whoever stops the fleet has to know."""
        url = f"http://127.0.0.1:{self._port}"
        try:
            jobs = (await asyncio.to_thread(_call, url, "GET", f"{JOBS}?limit=1000&namespace=*")).get("Items") or []
        except TenderError:
            return
        names = [str(job["Name"]) for job in jobs if job["State"]["StateType"] == "Running"]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        told = f"; what runs of these jobs goes on and is found again: {', '.join(names[:5])}{more}" if names else ""
        self._say(f"stopping{told}")

    async def stop(self) -> None:
        """Nodes first, so that they can say goodbye; then the hub, which stops its broker."""
        self._ready_file.unlink(missing_ok=True)
        await asyncio.gather(*(child.stop() for child in self._agents))
        await asyncio.gather(*(_unmount(storage) for storage in _storages(self._settings.nodes)))
        await self._hub.stop()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)


def _storages(nodes: list[NodePlan]) -> list[Path]:
    """Where private Podman services keep their containers."""
    places = (node.folder / "data" / "podman" / "root" / "overlay" for node in nodes)
    return [place for place in places if place.exists()]


async def _unmount(storage: Path) -> None:
    """Give up what Podman mounted, so that the folder can be removed. Refused, and left, while containers run."""
    quiet = asyncio.subprocess.DEVNULL
    with contextlib.suppress(OSError):  # a machine without umount keeps the mount
        await (await asyncio.create_subprocess_exec("/bin/umount", str(storage), stdout=quiet, stderr=quiet)).wait()


def _port(kept: Path, wanted: int) -> int:
    """The port to use. A free one is kept, so that a restart is found at the same place."""
    if wanted:
        if not _is_free(wanted):
            raise Conflict(
                f"port {wanted} is taken on this machine",
                hint="is another devstack or hub running? give another with --api-port, 0 takes a free one",
            )
        return wanted
    with contextlib.suppress(OSError, ValueError):
        before = int(kept.read_text())
        if _is_free(before):
            return before
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    kept.write_text(str(port))
    return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _able(url: str) -> set[str]:
    """Names of nodes on which jobs can run now."""
    try:
        nodes = _call(url, "GET", NODES).get("Nodes") or []
    except TenderError:
        return set()
    return {
        str(node["Tender"]["Name"])
        for node in nodes
        if node["Connection"] == "CONNECTED"
        and node["Membership"] == "APPROVED"
        and node["Info"]["ComputeNodeInfo"]["ExecutionEngines"]
    }


def _call(url: str, method: str, path: str, body: object = None) -> Any:
    """One small call to our own hub on this machine."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        key = os.environ.get("TENDER_API_KEY", "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        reply = connection.getresponse()
        data = reply.read(16 * 1024 * 1024)
    except (OSError, http.client.HTTPException) as failed:
        raise Unavailable(f"the hub does not answer: {failed}") from None
    finally:
        connection.close()
    if reply.status != 200:
        raise InvalidRequest(f"the hub refused {method} {path}: {data[:300].decode(errors='replace')}")
    return json.loads(data)


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
