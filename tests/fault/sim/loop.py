"""An event loop whose clock jumps to the next timer, and processes in it that can be killed between any two steps."""

import asyncio
import heapq
from asyncio import base_events
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

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
    tasks: "WeakSet[asyncio.Task[Any]]" = field(default_factory=WeakSet)
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

    CLOCK_BOOTTIME = 7

    def clock_gettime(self, _clock: int) -> float:
        """Nobody is suspended here."""
        return self.monotonic()


class Step:
    """One call that is due, as `asyncio.Handle` and `asyncio.TimerHandle` are to whoever asked for it."""

    __slots__ = ("_loop", "args", "at", "callback", "context")

    def __init__(self, loop: "VirtualLoop", at: float, callback: Any, args: tuple[Any, ...], context: Any) -> None:
        self._loop, self.at, self.callback, self.args = loop, at, callback, args
        self.context: Context = copy_context() if context is None else context

    def cancel(self) -> None:
        """Do nothing when its time comes."""
        if self.callback is not None:
            self.callback, self.args = None, ()
            self._loop.cancelled += 1

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.at


class VirtualLoop(base_events.BaseEventLoop):
    """Runs what is due at once and then jumps; nothing waits, there are no sockets and no threads."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.steps = 0
        self.cancelled = 0
        self._number = 0
        self._soon: deque[Step] = deque()
        self._timers: list[tuple[float, int, Step]] = []
        self.jitter: Callable[[], float] = lambda: 0.0
        """Seconds that a piece of work takes which is handed to a thread."""

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        step = Step(self, self.now, callback, args, context)
        self._soon.append(step)
        return step

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        when = self.now + delay  # as `call_at`, which this would go through millions of times
        step = Step(self, when, callback, args, context)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, step))
        return step

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        step = Step(self, when, callback, args, context)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, step))
        return step

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> "asyncio.Task[Any]":
        """Each process knows its own."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.tasks.add(task)
        return task

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
        """All turns until the loop is to stop."""
        soon, timers = self._soon, self._timers
        while not self._stopping:
            if not soon:
                self._jump()
            self.now += TURN
            while timers and timers[0][0] <= self.now:
                soon.append(heapq.heappop(timers)[2])
            for _ in range(len(soon)):
                step = soon.popleft()
                callback = step.callback
                if callback is None:
                    continue
                step.callback = None
                context = step.context
                process = context.get(PROCESS)
                if process is None or _lives(process):
                    self.steps += 1
                    try:
                        context.run(callback, *step.args)
                    except (KeyboardInterrupt, SystemExit):
                        raise
                    except BaseException as error:  # noqa: BLE001  as every event loop does
                        self.call_exception_handler({"message": f"in {callback!r}", "exception": error})

    def _jump(self) -> None:
        """To the next timer that still counts."""
        timers = self._timers
        if self.cancelled > 1000 and self.cancelled * 2 > len(timers):
            timers[:] = [entry for entry in timers if entry[2].callback is not None]
            heapq.heapify(timers)
            self.cancelled = 0
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError("nothing will ever happen again in this simulation")
        self.now = max(self.now, timers[0][0])

    def run(self, main: Any) -> Any:
        """Run until `main` is done."""
        return self.run_until_complete(main)

    def shutdown(self) -> None:
        """Drop what is still to come."""
        self._soon.clear()
        self._timers.clear()
        if not self.is_closed():
            self.close()


def _lives(process: Process) -> bool:
    """Count a step of a process, unless it is dead or dies before it."""
    if process.dead:
        return False
    process.steps += 1
    if process.steps == process.dies_at:
        process.on_death()
        return False
    return True


def begin(loop: VirtualLoop, process: Process, work: Callable[[], Any]) -> asyncio.Task[Any]:
    """Start a coroutine as this process."""

    def start() -> asyncio.Task[Any]:
        PROCESS.set(process)
        return loop.create_task(work(), context=process.context)

    return process.context.run(start)
