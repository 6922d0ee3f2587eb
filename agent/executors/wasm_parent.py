"""The core's end of the warm WASM parent: started on demand, asked by JSON lines, replaced when it dies."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import msgspec

from agent.executors.wasm_orders import LINE_CAP, Answer, Orders
from wire.failures import ExecutionFailed, Reason

ANSWER_DEADLINE = 60.0
"""Seconds for one order. The parent itself only hashes and maps modules; compiling is its children's work."""

_ROOT = Path(__file__).resolve().parents[2]


class ParentGoneError(Exception):
    """The warm parent ended before it answered."""


class _Line:
    """One living parent process and the orders that wait for its answers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.waiting: dict[int, asyncio.Future[Answer]] = {}
        self.open = True
        self.reader = asyncio.create_task(self._read(), name="wasm-parent")

    async def ask(self, orders: Orders, line: bytes) -> Answer:
        if not self.open or self.process.stdin is None:
            raise ParentGoneError
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting[orders.n] = answer
        try:
            async with asyncio.timeout(ANSWER_DEADLINE):
                self.process.stdin.write(line)
                await self.process.stdin.drain()
                return await answer
        except TimeoutError as error:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            raise ParentGoneError from error
        except ConnectionError as error:
            raise ParentGoneError from error
        finally:
            self.waiting.pop(orders.n, None)
            if answer.done() and not answer.cancelled():
                answer.exception()

    async def _read(self) -> None:
        stdout = self.process.stdout
        try:
            while stdout is not None and (line := await stdout.readline()):
                answer = msgspec.json.decode(line, type=Answer)
                waiter = self.waiting.get(answer.n)
                if waiter is None or waiter.done():
                    continue
                if answer.gone:
                    waiter.set_exception(ParentGoneError())
                else:
                    waiter.set_result(answer)
        except (ValueError, msgspec.DecodeError):
            self.process.kill()
        finally:
            self.open = False
            for waiter in self.waiting.values():
                if not waiter.done():
                    waiter.set_exception(ParentGoneError())

    async def close(self) -> None:
        """End of input is the parent's order to leave; its children stay."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self.reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.reader


class WarmParent:
    """Asks the warm parent, starting it when there is none. Orders may be repeated: ids are claimed once."""

    def __init__(self, cache: Path, idle: float) -> None:
        self._command = [sys.executable, "-P", "-m", "agent.workers.wasm", str(cache), str(idle)]
        self._line: _Line | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    @property
    def pid(self) -> int | None:
        return self._line.process.pid if self._line is not None and self._line.open else None

    async def ask(self, orders: Orders) -> Answer:
        line = msgspec.json.encode(orders) + b"\n"
        if len(line) > LINE_CAP:
            message = f"the order has {len(line)} bytes, more than the {LINE_CAP} that are allowed"
            raise ExecutionFailed(Reason("start-failed", message, "pass long texts as an input file", retryable=False))
        for _ in range(2):
            with contextlib.suppress(ParentGoneError):
                return await (await self._alive()).ask(orders, line)
        raise ExecutionFailed(Reason("start-failed", "the WASM worker ended twice before it could start this work"))

    async def _alive(self) -> _Line:
        async with self._starting:
            if self._closed:
                raise ExecutionFailed(Reason("start-failed", "the agent is closing"))
            if self._line is not None and not self._line.open:
                await self._line.close()
                self._line = None
            if self._line is None:
                self._line = _Line(await self._start())
            return self._line

    async def _start(self) -> asyncio.subprocess.Process:
        path = os.environ.get("PATH", os.defpath)
        try:
            return await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={"PATH": path, "PYTHONPATH": str(_ROOT)},
                start_new_session=True,
            )
        except (OSError, RuntimeError) as error:
            raise ExecutionFailed(Reason("start-failed", f"the WASM worker cannot be started: {error}")) from error

    async def close(self) -> None:
        self._closed = True
        async with self._starting:
            if self._line is not None:
                await self._line.close()
                self._line = None
