"""The core's side of the Podman driver child: started on demand, ended when idle, replaced when it misbehaves."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.executors.podman_calls import LINE_CAP, Answer, Request
from agent.executors.podman_socket import unresponsive
from wire.failures import ExecutionFailed, Reason

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


class DriverLost(Exception):
    """The child went away before it answered."""


class Driver:
    """Calls to one driver child. A call may be repeated at will: every one of them is idempotent."""

    def __init__(self, socket: str, *, deadline: float, idle: float) -> None:
        self._socket = socket
        self._deadline = deadline
        self._idle = idle
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._last = 0
        self._starting = asyncio.Lock()
        self._leave: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return None if self._child is None else self._child.pid

    async def call(self, name: str, args: msgspec.Struct, kind: type[T], *, within: float | None) -> T:
        """Make one call. A child that does not answer `within` seconds is killed. Raises ExecutionFailed."""
        for attempt in range(3):
            try:
                async with asyncio.timeout(within):
                    return await self._once(name, args, kind)
            except DriverLost:
                await asyncio.sleep(0.2 * attempt)
            except TimeoutError:
                await self._discard()
                raise ExecutionFailed(unresponsive(within or 0)) from None
        raise ExecutionFailed(
            Reason("driver-lost", "the Podman driver died three times in a row", "see the agent's log")
        )

    async def close(self) -> None:
        """End the child; containers go on."""
        self._cancel_leave()
        await self._discard()

    async def _once(self, name: str, args: msgspec.Struct, kind: type[T]) -> T:
        async with self._starting:
            self._cancel_leave()
            child = await self._running()
        self._last += 1
        request = Request(self._last, name, self._deadline, msgspec.Raw(msgspec.json.encode(args)))
        line = msgspec.json.encode(request)
        if len(line) >= LINE_CAP:
            raise ExecutionFailed(Reason("too-large", f"the order is {len(line)} bytes", "shorten it", retryable=False))
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = answer
        try:
            assert child.stdin is not None  # noqa: S101 - the child is made with pipes
            try:
                child.stdin.write(line + b"\n")
                await child.stdin.drain()
            except ConnectionError:
                raise DriverLost from None
            said = await answer
        finally:
            self._waiting.pop(request.id, None)
            self._arm_leave()
        if said.reason is not None:
            raise ExecutionFailed(said.reason)
        return msgspec.json.decode(said.result, type=kind)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._child is not None and self._child.returncode is None and self._reader and not self._reader.done():
            return self._child
        await self._discard()
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "XDG_RUNTIME_DIR") if name in os.environ}
        try:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "agent.workers.podman", self._socket, cwd="/",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                start_new_session=True, limit=LINE_CAP, env={**env, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        except (OSError, RuntimeError) as error:
            # No descriptor or no process to be had just now: containers go on, so nobody may take that for their end.
            message = f"the Podman driver cannot be started: {error}"
            raise ExecutionFailed(Reason("driver-lost", message, "see the agent's log")) from error
        self._reader = asyncio.create_task(self._read(self._child))
        return self._child

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None  # noqa: S101 - the child is made with pipes
        try:
            while line := await child.stdout.readline():
                answer = msgspec.json.decode(line, type=Answer)
                future = self._waiting.get(answer.id)
                if future is not None and not future.done():
                    future.set_result(answer)
        except (ValueError, msgspec.DecodeError):
            pass  # a child that writes nonsense is treated like one that died
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(DriverLost())

    async def _discard(self) -> None:
        child, self._child = self._child, None
        reader, self._reader = self._reader, None
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        if reader is not None:
            await reader

    def _arm_leave(self) -> None:
        if not self._waiting and self._child is not None:
            self._cancel_leave()
            self._leave = asyncio.get_running_loop().call_later(self._idle, self._go)

    def _cancel_leave(self) -> None:
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None

    def _go(self) -> None:
        self._leave = None
        self._leaving = asyncio.create_task(self._discard_idle())

    async def _discard_idle(self) -> None:
        async with self._starting:
            if not self._waiting:
                await self._discard()
