"""An event loop whose clock jumps to the next timer, and processes in it that can be killed between any two steps."""

import asyncio
import heapq
from asyncio import base_events
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any

EPOCH = 1_750_000_000.0
"""Unix seconds at which a simulation begins."""


TURN = 1e-6
"""Seconds that a turn of the loop takes: time always moves."""


@dataclass(eq=False)
class Process:
    """One simulated process. What runs in its context is skipped once it is dead, as after `kill -9`.

    `skew` is what its box's wall clock is wrong by; `booted` is the loop's time at which its box came up.
    """

    name: str
    skew: float = 0.0
    booted: float = -1000.0
    boot: str = ""
    dead: bool = False
    steps: int = 0
    dies_at: int = 0
    """Number of the step before which it is killed; 0: it lives."""
    on_death: Callable[[], None] = lambda: None
    box: Any = None
    even: Callable[[], int] | None = None
    disk: Any = None
    broker: Any = None
    sessions: list[Any] = field(default_factory=list[Any])
    context: Context = field(default_factory=copy_context)

    def enter(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Call something as this process."""
        return self.context.run(work, *arguments)


PROCESS: ContextVar[Process | None] = ContextVar("simulated process", default=None)


class Clock:
    """Stands in for the module `time` in `wire/clock.py`: virtual time as the process at hand sees it."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def time(self) -> float:
        process = PROCESS.get()
        return EPOCH + self._loop.now + (process.skew if process else 0.0)

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def even_ns(self) -> int:
        """As the process reads it: a hub does not follow jumps."""
        process = PROCESS.get()
        return process.even() if process is not None and process.even is not None else self.time_ns()

    def monotonic(self) -> float:
        process = PROCESS.get()
        return self._loop.now - (process.booted if process else -1000.0)


class VirtualLoop(base_events.BaseEventLoop):
    """Runs what is due at once and then jumps; nothing waits, there are no sockets and no threads."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.steps = 0
        self.after_step: Callable[[], None] = lambda: None
        self.jitter: Callable[[], float] = lambda: 0.0
        """Seconds that a piece of work takes which is handed to a thread."""

    def time(self) -> float:
        return self.now

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> "asyncio.Future[Any]":
        """The work is done in one step, a little later; a kill before that means that it was never begun."""
        del executor
        future: asyncio.Future[Any] = self.create_future()

        def work() -> None:
            try:
                outcome = func(*args)
            except BaseException as error:  # noqa: BLE001  it belongs to whoever waits
                if not future.cancelled():
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(outcome)

        self.call_later(self.jitter(), work)
        return future

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready
        if self._timer_cancelled_count > 100 and self._timer_cancelled_count * 2 > len(scheduled):
            self._compact(scheduled)
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            if not scheduled:
                raise RuntimeError("nothing will ever happen again in this simulation")
            self.now = max(self.now, scheduled[0]._when)
        self.now += TURN
        while scheduled and scheduled[0]._when <= self.now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                self._step(handle)

    def _compact(self, scheduled: Any) -> None:
        """Throw out cancelled timers."""
        for handle in scheduled:
            handle._scheduled = not handle._cancelled
        scheduled[:] = [handle for handle in scheduled if not handle._cancelled]
        heapq.heapify(scheduled)
        self._timer_cancelled_count = 0

    def _step(self, handle: asyncio.Handle) -> None:
        process: Process | None = handle._context.get(PROCESS)
        if process is not None:
            if process.dead:
                return
            process.steps += 1
            if process.steps == process.dies_at:
                process.on_death()
                return
        self.steps += 1
        handle._run()

    def run(self, main: Any) -> Any:
        """Run until `main` is done."""
        return self.run_until_complete(main)

    def shutdown(self) -> None:
        """Drop what is still to come."""
        self._ready.clear()
        self._scheduled.clear()
        if not self.is_closed():
            self.close()


def begin(loop: VirtualLoop, process: Process, work: Callable[[], Any]) -> asyncio.Task[Any]:
    """Start a coroutine as this process."""

    def start() -> asyncio.Task[Any]:
        PROCESS.set(process)
        return loop.create_task(work(), context=process.context)

    return process.context.run(start)
