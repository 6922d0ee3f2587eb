"""The managed broker: a private mosquitto as the hub's child, with mutual TLS only, kept alive as long as the hub."""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import ssl
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Self

from hub import launch
from hub.broker.leftover import end_leftover
from hub.broker.mosquitto import (
    ASIDE,
    STORE,
    BrokerSettings,
    access_list,
    configuration,
    find_binary,
    store_is_bad,
)
from hub.pki import Pki
from wire import failpoints
from wire.backoff import Backoff
from wire.failures import Conflict, Unavailable
from wire.files.wholefile import write_whole

log = logging.getLogger(__name__)
_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 15.0
_PORT_TRIES = 5


class ManagedBroker:
    """`async with ManagedBroker(settings, pki) as broker:` runs until the end of the block.

    The child gets SIGTERM when the *thread* that started it ends, so enter this from the thread that lives as
    long as the hub: the one with its event loop. `restarts` counts the starts after the first.
    """

    def __init__(self, settings: BrokerSettings, pki: Pki) -> None:
        self._settings, self._pki = settings, pki
        self._folder = settings.folder.absolute()
        self._binary = find_binary(settings.binary)
        self._child: Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = -1
        self._running = asyncio.Event()
        self.port = 0
        self.restarts = 0
        self._last_words: deque[str] = deque(maxlen=50)

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return self._child.pid if self._child and self._child.returncode is None else None

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(self._folder / "lock")
        try:
            await end_leftover(self._folder / "pid")
            await self._first_start()
        except BaseException:
            await self._stop_child()
            os.close(self._lock)
            raise
        self._watcher = self._keep(self._watch(), "broker-watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
        await self._stop_child()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        os.close(self._lock)

    async def running(self) -> None:
        """Return as soon as the broker answers."""
        await self._running.wait()

    async def kill9(self) -> None:
        """Kill it as a fault would, for tests; it comes back by itself. Returns when it is dead."""
        if self._child is not None and self._child.returncode is None:
            self._running.clear()
            self._child.kill()
            await self._child.wait()

    def reload(self) -> None:
        """Make it read certificates and access list again, after they have been renewed; connections stay."""
        self._write_files()
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(signal.SIGHUP)

    # --- starting ---------------------------------------------------------------------------------

    async def _first_start(self) -> None:
        kept = self._folder / "port"
        fixed = self._settings.port or _read_port(kept)
        for turn in range(_PORT_TRIES):
            self.port = fixed or _free_port(self._settings.bind)
            try:
                await self._start()
                break
            except Unavailable:
                # A free port may be taken by somebody else a moment later; one that nodes know is not changed.
                if fixed or turn == _PORT_TRIES - 1 or not any("already in use" in line for line in self._last_words):
                    raise
        write_whole(kept, f"{self.port}\n".encode())

    async def _start(self) -> None:
        """One start; when the store does not let it, once more without the store. Raises Unavailable."""
        self._write_files()
        try:
            await self._launch()
        except Unavailable:
            store = self._folder / STORE
            if not store.exists() or not store_is_bad(self._last_words):
                raise
            aside = self._folder / ASIDE  # one is kept: enough to look at, and it cannot fill the disk
            store.replace(aside)
            log.warning("the broker did not start with its store; moved it to %s and start empty", aside)
            await self._launch()
        self._running.set()

    def _write_files(self) -> None:
        server = self._pki.server("broker", self._settings.names)
        root = os.geteuid() == 0
        text = configuration(self._settings, self.port, self._pki.ca_path.absolute(), server, as_root=root)
        write_whole(self._folder / "acl", access_list(self._settings).encode())
        write_whole(self._folder / "mosquitto.conf", text.encode())

    async def _launch(self) -> None:
        self._last_words.clear()
        argv = [self._binary, "-c", str(self._folder / "mosquitto.conf")]
        shim = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(self._folder / "pid")]
        failpoints.at("broker.before")
        child = await asyncio.create_subprocess_exec(
            *shim,
            *argv,
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the hub, which then stops the broker in good order
        )
        self._child = child
        listening = self._keep(self._listen_to(child), "broker-log")
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                await self._answers(child)
                failpoints.at("broker.after")
        except (TimeoutError, Unavailable):
            await self._stop_child()
            await asyncio.wait({listening}, timeout=1)
            words = "; ".join(list(self._last_words)[-3:]) or f"no word, exit code {child.returncode}"
            raise Unavailable(
                f"the broker did not start on port {self.port}: {words}",
                hint="is the port taken by another program? Choose one with --broker-port",
            ) from None

    async def _answers(self, child: Process) -> None:
        """Return when a TLS handshake proves that it is our broker that listens, not somebody else on the port."""
        context = ssl.create_default_context(cadata=self._pki.ca_pem)
        probe = self._pki.client("hub", self._settings.hub_id)
        context.load_cert_chain(probe.certificate, probe.key)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.bind, self._settings.bind)  # noqa: S104  compared, not bound
        delay = 0.005
        while True:
            if child.returncode is not None:
                raise Unavailable("the broker has ended")
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                _, writer = await asyncio.open_connection(host, self.port, ssl=context, server_hostname="localhost")
                writer.transport.abort()
                return
            await asyncio.sleep(delay)
            delay = min(0.2, delay * 1.5)

    # --- keeping it alive -------------------------------------------------------------------------

    async def _watch(self) -> None:
        backoff = Backoff(first=0.2, most=30, stable=60)
        while True:
            if self._child is not None:
                code = await self._child.wait()
                self._running.clear()
                log.error("the broker ended with code %d: %s", code, "; ".join(list(self._last_words)[-3:]))
            await asyncio.sleep(backoff.next())
            self.restarts += 1
            try:
                await self._start()
                backoff.settled()
                log.warning("the broker runs again")
            except (Unavailable, OSError) as error:
                log.error("the broker cannot be started: %s", error)  # noqa: TRY400  the message says it all

    async def _listen_to(self, child: Process) -> None:
        while child.stderr is not None:
            try:
                line = await child.stderr.readline()
            except ValueError:  # a line beyond the reader's limit; what was read of it is gone
                continue
            if not line:
                return
            text = line.decode(errors="replace").strip()[:500]
            self._last_words.append(text)
            level = logging.WARNING if text.startswith(("Error", "Warning")) else logging.DEBUG
            log.log(level, "mosquitto: %r", text)

    async def _stop_child(self) -> None:
        child = self._child
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await child.wait()
        except TimeoutError:
            log.warning("the broker does not stop; killing it")
            child.kill()
            await child.wait()

    def _keep(self, work: Coroutine[None, None, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _lock(path: Path) -> int:
    """Hold the folder for this process. The kernel lets go when it ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(
            f"another hub runs a broker in {path.parent}", hint="stop it, or give this one another data folder"
        ) from None
    return descriptor


def _read_port(path: Path) -> int | None:
    try:
        port = int(path.read_text()[:16])
    except (OSError, ValueError):
        return None
    return port if 0 < port < 65_536 else None


def _free_port(bind: str) -> int:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((bind, 0))
        return int(probe.getsockname()[1])
