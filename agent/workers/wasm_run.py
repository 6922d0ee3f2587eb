"""One WASM execution, in the process that the warm parent forked for it. It survives the parent and the core."""

import _thread
import os
import resource
import signal
from contextlib import suppress
from time import sleep
from typing import NoReturn

import msgspec
import wasmtime

from agent.executors.base import ExitReport
from agent.executors.capped import CappedStream
from agent.executors.process_names import birth_of, boot_id
from agent.executors.run_folder import RunFolder, Started
from agent.executors.wasm_orders import Answer, Orders
from agent.executors.wasm_spec import refusal
from agent.files.disk_faults import PASSING
from agent.workers.wasm_cache import ModuleCache
from agent.workers.wasm_compile import end_compilers
from agent.workers.wasm_guest import Ended, run_guest
from agent.workers.wasm_results import settle
from wire.clock import monotonic
from wire.failures import ExecutionFailed, Reason

FILES = 1024
"""Descriptors that a program may have, where the box gives so many."""
_SLACK = 768 * 1024 * 1024  # what wasmtime, Python and compiled code may hold beside the guest's memory
LOOK_AGAIN = 1.0
"""Seconds between two tries to leave a report on a disk that takes nothing."""
_LAST_RESORT = 60.0  # seconds after the time-out at which the kernel ends a process that cannot write its report

Loaded = list[tuple[str, wasmtime.Module | None]]


def run_child(orders: Orders, modules: Loaded, cache: ModuleCache, received: float, close: list[int]) -> NoReturn:
    """Everything from the fork to the exit. Nothing of the parent's may run after it."""
    try:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # waited for by the watch
        started = monotonic()
        folder = RunFolder(orders.folder)
        if _claim(orders, folder, started):
            for descriptor in close:
                os.close(descriptor)
            Execution(orders, folder, started).run(modules, cache, received)
    finally:
        os._exit(1)


def _claim(orders: Orders, folder: RunFolder, started: float) -> bool:
    """Take the id and say so. The one that loses names the one that has it."""
    pid = os.getpid()
    mine = Started(
        executor="wasm",
        execution_id=orders.execution_id,
        pid=pid,
        birth=birth_of(pid) or 0,
        boot=boot_id(),
        deadline=None if orders.timeout is None else started + orders.timeout,
    )
    try:
        won = folder.claim(mine, held=True)
        holder = mine if won else folder.started()
        answer = Answer(orders.n, holder.pid, holder.birth) if holder else Answer(orders.n)
    except OSError as error:
        won = False
        answer = Answer(orders.n, refusal=refusal(f"the execution's folder: {error}", retryable=True))
    with suppress(BrokenPipeError):  # the core is gone; it finds this work when it comes back
        os.write(1, msgspec.json.encode(answer) + b"\n")
    return won


class Execution:
    """The streams, the watch over time-out and stop, and the one report."""

    def __init__(self, orders: Orders, folder: RunFolder, started: float) -> None:
        self.orders = orders
        self.folder = folder
        self.started = started
        self.steps: dict[str, float] = {}
        self.out = CappedStream(folder.results / "stdout", orders.stream_cap, f"{orders.execution_id}-stdout")
        self.err = CappedStream(folder.results / "stderr", orders.stream_cap, f"{orders.execution_id}-stderr")
        self._reporting = _thread.allocate_lock()

    def run(self, modules: Loaded, cache: ModuleCache, received: float) -> NoReturn:
        _leave_the_parent()
        self.steps["fork"] = (self.started - received) * 1000
        if self.orders.timeout is not None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, self.orders.timeout + _LAST_RESORT)
        _thread.start_new_thread(self._watch, ())
        try:
            ready = self._load(modules, cache)
            _limit(self.orders)
            ended = run_guest(self.orders, ready, cache.linker, self.out, self.err, self.steps)
        except ExecutionFailed as error:
            ended = Ended(reason=error.reason)
        except Exception as error:  # noqa: BLE001 whatever it is, the report must say it
            ended = Ended(reason=refusal(f"the worker failed: {type(error).__name__}: {error}", retryable=True))
        self._reporting.acquire()  # for ever, if the watch is writing the report already
        self._finish(ended)

    def _load(self, modules: Loaded, cache: ModuleCache) -> list[wasmtime.Module]:
        begun = monotonic()
        cold = any(module is None for _, module in modules)
        ready = [
            module if module is not None else cache.compiled(file, digest)
            for file, (digest, module) in zip(self.orders.modules, modules, strict=True)
        ]
        if cold:
            self.steps["compile"] = (monotonic() - begun) * 1000
        return ready

    def _watch(self) -> None:
        """Ends the guest at its time-out or on SIGTERM. Works while the guest loops or sleeps: it holds no GIL."""
        if self.orders.timeout is None:
            signal.sigwait({signal.SIGTERM})
            told = True
        else:
            left = self.started + self.orders.timeout - monotonic()
            said = signal.sigtimedwait({signal.SIGTERM}, max(0.0, left))
            # Python makes up a signal when the process stood still and the time was over as it went on.
            told = said is not None and said.si_signo == signal.SIGTERM
        if not self._reporting.acquire(blocking=False):
            return
        if told:
            reason = self.folder.stop_reason() or Reason("vanished", "the worker was ended by SIGTERM from outside")
        else:
            hint = "raise Timeouts.ExecutionTimeout"
            reason = Reason("timeout", f"the work ran longer than {self.orders.timeout:g} s", hint)
        end_compilers()
        self._finish(Ended(reason=reason))

    def _finish(self, ended: Ended) -> NoReturn:
        """What the report speaks of is on the disk before there is a report."""
        begun = monotonic()
        self.out.close(durable=True)
        self.err.close(durable=True)
        reason = ended.reason or _stream_failure(self.out, self.err) or settle(self.orders.outputs)
        self.steps["sync"] = (monotonic() - begun) * 1000
        report = ExitReport(
            exit_code=ended.exit_code,
            reason=reason,
            stdout_bytes=self.out.total,
            stderr_bytes=self.err.total,
            seconds=round(monotonic() - self.started, 6),
            steps={name: round(value, 3) for name, value in self.steps.items()},
        )
        try:
            self._leave(report)
        finally:
            os._exit(0)

    def _leave(self, report: ExitReport) -> None:
        """Work that has ended is not lost for want of room: until there is some, this process is its only witness."""
        while True:
            try:
                return self.folder.write_report(report)
            except OSError as fault:
                if fault.errno not in PASSING:
                    raise
            sleep(LOOK_AGAIN)


def _stream_failure(*streams: CappedStream) -> Reason | None:
    for stream in streams:
        if stream.error:
            return Reason("output-refused", f"what the program printed could not be kept: {stream.error}")
    return None


def _leave_the_parent() -> None:
    """No pipe of the core's may stay open here: its end is how others see that the parent is gone."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    with suppress(OSError):  # when the box runs out of memory the kernel takes the work, not the agent
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"500")
        os.close(score)


def _limit(orders: Orders) -> None:
    data = orders.memory + _SLACK
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)  # who may do little cannot raise it
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if orders.disk:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the guest gets an error instead
        resource.setrlimit(resource.RLIMIT_FSIZE, (orders.disk, orders.disk))
