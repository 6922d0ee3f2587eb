"""The warm parent of all WASM executions: loads wasmtime once, then forks one process for each order.

Started by the core as `python -m agent.workers.wasm CACHE IDLE`. It reads orders from stdin and leaves
at the end of input or after IDLE seconds without one. Its children answer on its stdout and go on
without it. It starts no thread, so forking is safe.
"""

import gc
import os
import resource
import select
import sys
from pathlib import Path

import msgspec
import wasmtime

from agent.executors.process_names import boot_id
from agent.executors.wasm_orders import LINE_CAP, Answer, Orders
from agent.executors.wasm_spec import refusal
from agent.workers.wasm_cache import ModuleCache, new_engine
from agent.workers.wasm_rehearsal import rehearse
from agent.workers.wasm_run import run_child
from wire.clock import monotonic
from wire.failures import ExecutionFailed


class Parent:
    """Reads orders, forks, reaps."""

    def __init__(self, cache: ModuleCache, idle: float) -> None:
        self._cache = cache
        self._idle = idle
        self._pending = b""
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)
        self._children: dict[int, tuple[int, int]] = {}  # pidfd: pid, number of the order

    def serve(self) -> None:
        leave = monotonic() + self._idle
        while (left := leave - monotonic()) > 0:
            for descriptor, _ in self._poll.poll(left * 1000):
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
        try:
            modules = self._modules(orders)
        except ExecutionFailed as error:
            self._say(Answer(orders.n, refusal=error.reason))
            return
        except OSError as error:
            reason = refusal(f"a module cannot be read: {error}", retryable=True)
            self._say(Answer(orders.n, refusal=reason))
            return
        try:
            pid = os.fork()
        except OSError as error:
            self._say(Answer(orders.n, refusal=refusal(f"no new process: {error}", retryable=True)))
            return
        if pid == 0:
            run_child(orders, modules, self._cache, received, list(self._children))
        descriptor = os.pidfd_open(pid)
        self._children[descriptor] = (pid, orders.n)
        self._poll.register(descriptor, select.POLLIN)

    def _modules(self, orders: Orders) -> list[tuple[str, wasmtime.Module | None]]:
        """Loaded here, before the fork, so that all children share the pages."""
        digests = [self._cache.digest(file) for file in orders.modules]
        return [(digest, self._cache.ready(digest)) for digest in digests]

    def _reap(self, descriptor: int) -> None:
        pid, number = self._children.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        os.waitpid(pid, 0)
        self._say(Answer(number, gone=True))

    def _say(self, answer: Answer) -> None:
        os.write(1, msgspec.json.encode(answer) + b"\n")


def main() -> None:
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cache = ModuleCache(Path(sys.argv[1]), new_engine())
    parent = Parent(cache, float(sys.argv[2]))
    boot_id()  # read once, here
    rehearse(cache)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        parent.serve()
    except BrokenPipeError:  # the core is gone
        os._exit(0)


if __name__ == "__main__":
    main()
