"""A child of the warm parent that is forked before there is an order for it."""

import os
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from agent.executors.wasm_orders import LINE_CAP, Answer, Orders
from agent.executors.wasm_spec import refusal
from agent.workers.wasm_cache import ModuleCache
from agent.workers.wasm_rehearsal import Rehearsal
from agent.workers.wasm_run import run_child
from wire.clock import monotonic
from wire.failures import ExecutionFailed

HANDOVER_CAP = 60_000
"""Bytes of an order that fit into a pipe whoever reads it, so that a spare that hangs cannot hold up the parent."""


@dataclass(frozen=True)
class Spare:
    """The parent's end."""

    pid: int
    pidfd: int
    writing: int

    def take(self, line: bytes) -> bool:
        """Hand over an order; False when the spare is gone, or the order too large. Either way the spare is used up."""
        try:
            if len(line) > HANDOVER_CAP:
                return False
            os.write(self.writing, line + b"\n")
        except BrokenPipeError:
            return False
        finally:
            os.close(self.writing)
        return True


def await_order(reading: int, cache: ModuleCache, rehearsal: Rehearsal, close: list[int]) -> NoReturn:
    """Everything from the fork to the exit. The end of the pipe without an order means that the parent is gone."""
    try:
        for descriptor in close:
            os.close(descriptor)
        rehearsal.run(1)  # again: now the pages that it touches are this process's own
        line = b""
        while not line.endswith(b"\n") and len(line) < LINE_CAP and (part := os.read(reading, LINE_CAP)):
            line += part
        os.close(reading)
        if line.endswith(b"\n"):
            _take(msgspec.json.decode(line, type=Orders), cache)
    finally:
        os._exit(1)


def _take(orders: Orders, cache: ModuleCache) -> None:
    received = monotonic()
    try:
        modules = cache.loaded(orders.modules)
    except ExecutionFailed as error:
        os.write(1, msgspec.json.encode(Answer(orders.n, refusal=error.reason)) + b"\n")
    except OSError as error:
        reason = refusal(f"a module cannot be read: {error}", retryable=True)
        os.write(1, msgspec.json.encode(Answer(orders.n, refusal=reason)) + b"\n")
    else:
        run_child(orders, modules, cache, received, [])
