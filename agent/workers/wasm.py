"""The warm parent of all WASM executions: loads wasmtime once, then forks one process for each order.

Started by the core as `python -m agent.workers.wasm CACHE IDLE`. It reads orders from stdin and leaves
at the end of input or after IDLE seconds without one. Its children answer on its stdout and go on
without it. It starts no thread, so forking is safe. When it has nothing to do it forks one child ahead,
the spare, which takes the next order without the cost of a fork.
"""

import gc
import os
import resource
import select
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from agent.executors.process_names import boot_id
from agent.executors.wasm_orders import LINE_CAP, Answer, Orders
from agent.executors.wasm_spec import refusal
from agent.workers.wasm_cache import ModuleCache, new_engine
from agent.workers.wasm_rehearsal import ROUNDS, Rehearsal
from agent.workers.wasm_run import run_child
from agent.workers.wasm_spare import Spare, await_order
from wire.clock import monotonic
from wire.failures import ExecutionFailed

QUIET = 0.008
"""Seconds without an order after which the next spare is forked: not while a job starts, which needs the cores."""
NO_ORDER = 0
"""In place of an order's number."""


class Parent:
    """Reads orders, forks, reaps."""

    def __init__(self, cache: ModuleCache, idle: float, rehearsal: Rehearsal) -> None:
        self._cache = cache
        self._idle = idle
        self._rehearsal = rehearsal
        self._pending = b""
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)
        self._children: dict[int, tuple[int, int]] = {}  # pidfd: pid, number of the order
        self._spare: Spare | None = None
        self._spare_is_due = False

    def serve(self) -> None:
        leave = monotonic() + self._idle
        while (left := leave - monotonic()) > 0:
            ready = self._poll.poll(1000 * (min(QUIET, left) if self._spare_is_due else left))
            if not ready and self._spare_is_due:
                self._spare_is_due = False
                self._fork_spare()
            for descriptor, _ in ready:
                if descriptor != 0:
                    self._reap(descriptor)
                elif not self._read():
                    return
                else:
                    leave = monotonic() + self._idle

    def _read(self) -> bool:
        data = os.read(0, 65536)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._start(line)
        return bool(data) and len(self._pending) <= LINE_CAP

    def _start(self, line: bytes) -> None:
        received = monotonic()
        orders = msgspec.json.decode(line, type=Orders)
        self._spare_is_due = True
        spare, self._spare = self._spare, None
        if spare is not None and spare.take(line):
            self._children[spare.pidfd] = (spare.pid, orders.n)
            with suppress(ExecutionFailed, OSError):  # whatever it is, the spare says it
                self._cache.loaded(orders.modules)  # so that the next spare shares it
            return
        try:
            modules = self._cache.loaded(orders.modules)
            pid = os.fork()
        except (ExecutionFailed, OSError) as error:
            reason = error.reason if isinstance(error, ExecutionFailed) else None
            self._say(Answer(orders.n, refusal=reason or refusal(f"the work cannot start: {error}", retryable=True)))
            return
        if pid == 0:
            run_child(orders, modules, self._cache, received, list(self._children))
        self._watch(pid, orders.n)

    def _fork_spare(self) -> None:
        """A child that waits for an order. Best effort."""
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            return
        if pid == 0:
            os.close(writing)
            await_order(reading, self._cache, self._rehearsal, list(self._children))
        os.close(reading)
        self._spare = Spare(pid, self._watch(pid, NO_ORDER), writing)

    def _watch(self, pid: int, number: int) -> int:
        descriptor = os.pidfd_open(pid)
        self._children[descriptor] = (pid, number)
        self._poll.register(descriptor, select.POLLIN)
        return descriptor

    def _reap(self, descriptor: int) -> None:
        pid, number = self._children.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        os.waitpid(pid, 0)
        if self._spare is not None and self._spare.pid == pid:
            os.close(self._spare.writing)
            self._spare = None
        if number != NO_ORDER:
            self._say(Answer(number, gone=True))

    def _say(self, answer: Answer) -> None:
        os.write(1, msgspec.json.encode(answer) + b"\n")


def main() -> None:
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cache = ModuleCache(Path(sys.argv[1]), new_engine())
    rehearsal = Rehearsal(cache)
    rehearsal.run(ROUNDS)
    parent = Parent(cache, float(sys.argv[2]), rehearsal)
    boot_id()  # read once, here
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        parent.serve()
    except BrokenPipeError:  # the core is gone
        os._exit(0)


if __name__ == "__main__":
    main()
