"""Starts, feeds and ends the children that move data, so that the core needs neither HTTP nor S3 libraries.

A child does one order at a time. After it, it stays warm for `idle` seconds; one that misses a
deadline, stalls or is no longer wanted is killed with its whole process group.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

import agent
from agent.files.transfer_orders import LINE_CAP, Done, Download, Failed, Order, Progress, Report
from wire.failures import ExecutionFailed, Reason

AT_ONCE = 2
_PLAIN_NAMES = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
_SECRET_NAMES = ("HOME", "AWS_")


def _environment(source: Mapping[str, str], kind: str) -> dict[str, str]:
    """What a child may see: only the one that talks to S3 gets the names that lead to its keys."""
    names = _PLAIN_NAMES if kind == "download" else (*_PLAIN_NAMES, *_SECRET_NAMES)
    kept = {
        key: value
        for key, value in source.items()
        if any(key == name or (name.endswith("_") and key.startswith(name)) for name in names)
    }
    kept.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    return kept | {"PYTHONPATH": str(Path(agent.__path__[0]).parent), "PYTHONDONTWRITEBYTECODE": "1"}


class _Child:
    """One transfer process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.retire: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, kind: str, environ: Mapping[str, str]) -> "_Child":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "agent.workers.transfer",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(environ, kind),
            cwd="/",
            start_new_session=True,
            limit=LINE_CAP,
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def carry_out(self, order: Order, stall: float, moved: Callable[[int], None]) -> dict[str, str]:
        assert self._process.stdin is not None  # noqa: S101  a pipe, see start
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        await self._process.stdin.drain()
        while line := await self._line(stall):
            report: Progress | Done | Failed = msgspec.json.decode(line, type=Report)
            if isinstance(report, Failed):
                raise ExecutionFailed(report.reason)
            if isinstance(report, Done):
                return report.values
            moved(report.moved)
        raise ConnectionResetError("the transfer process ended")

    async def _line(self, stall: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101  a pipe, see start
        async with asyncio.timeout(stall):  # wait_for would swallow a cancellation that comes with a line
            return await self._process.stdout.readline()

    def kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill the process and everything it started, and wait until it is gone."""
        if self.retire is not None:
            self.retire.cancel()
        self.kill()
        await self._process.communicate()


class Transfers:
    """Carries out orders in children, `uploads` of them at a time go up. `environ` is where their few variables are
    taken from.
    """

    def __init__(
        self, *, idle: float = 180.0, environ: Mapping[str, str] | None = None, uploads: int = AT_ONCE
    ) -> None:
        self._idle = idle
        self._environ = environ if environ is not None else os.environ
        self._resting: dict[str, list[_Child]] = {"download": [], "s3-put": []}
        self._busy: set[_Child] = set()
        self._ending: set[asyncio.Future[None]] = set()
        self._closed = False
        self._slots = {"download": asyncio.Semaphore(AT_ONCE), "s3-put": asyncio.Semaphore(uploads)}

    async def run(
        self,
        order: Order,
        *,
        deadline: float,
        stall: float = 60.0,
        moved: Callable[[int], None] | None = None,
    ) -> dict[str, str]:
        """Carry out one order; returns its values. Raises ExecutionFailed with the child's reason or our own.

        Our own are `transfer-deadline`, `transfer-stalled` and `transfer-died`, all worth trying again.
        """
        kind = "download" if isinstance(order, Download) else "s3-put"
        async with self._slots[kind]:
            child = await self._take(kind)
            sound = False
            limit = asyncio.timeout(deadline)
            try:
                async with limit:
                    values = await child.carry_out(order, stall, moved or (lambda _: None))
                sound = True
                return values
            except ExecutionFailed:
                sound = True
                raise
            except TimeoutError as fault:
                raise _late(deadline if limit.expired() else stall, expired=limit.expired()) from fault
            except (OSError, ValueError, msgspec.MsgspecError) as fault:
                reason = Reason("transfer-died", f"the transfer process ended early: {fault}")
                raise ExecutionFailed(reason) from fault
            finally:
                self._busy.discard(child)
                if sound and not self._closed:
                    self._rest(kind, child)
                else:
                    await child.end()

    async def _take(self, kind: str) -> _Child:
        resting = self._resting[kind]
        while resting:
            child = resting.pop()
            if child.alive:
                if child.retire is not None:
                    child.retire.cancel()
                break
            await child.end()
        else:
            try:
                child = await _Child.start(kind, self._environ)
            except (OSError, RuntimeError) as fault:
                reason = Reason("transfer-died", f"no transfer process can be started: {fault}")
                raise ExecutionFailed(reason) from fault
        self._busy.add(child)
        return child

    def _rest(self, kind: str, child: _Child) -> None:
        self._resting[kind].append(child)
        child.retire = asyncio.get_running_loop().call_later(self._idle, self._retire, kind, child)

    def _retire(self, kind: str, child: _Child) -> None:
        self._resting[kind].remove(child)
        task = asyncio.ensure_future(child.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def pids(self) -> list[int]:
        """Ids of the children that carry out an order now."""
        return [child.pid for child in self._busy]

    def resting(self) -> list[int]:
        """Ids of the children that wait for the next order."""
        return [child.pid for children in self._resting.values() for child in children if child.alive]

    async def close(self) -> None:
        """End all children. Orders under way fail; an upload goes on from its state the next time."""
        self._closed = True
        for child in self._busy:
            child.kill()
        resting = [child for children in self._resting.values() for child in children]
        for children in self._resting.values():
            children.clear()
        await asyncio.gather(*(child.end() for child in resting), *self._ending)


def _late(seconds: float, *, expired: bool) -> ExecutionFailed:
    if expired:
        return ExecutionFailed(Reason("transfer-deadline", f"the transfer was not done in {seconds:g} s"))
    return ExecutionFailed(Reason("transfer-stalled", f"no byte moved for {seconds:g} s"))
