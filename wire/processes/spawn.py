"""Runs a short program to its end: input on stdin, output capped, a deadline, and nothing left behind.

The one door for probe hooks and vendor tools. asyncio's own subprocesses are not used, because their
`communicate` is unbounded, their kill misses grandchildren, and some versions wait for pipes that a
grandchild still holds.
"""

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import IO

from wire.processes.enclosure import Enclosure

CAP = 64 * 1024
_CHUNK = 64 * 1024
_DRAIN = 1.0


class Fault(StrEnum):
    """Why a program gave no usable answer."""

    TIMEOUT = "timeout"
    FLOOD = "flood"
    NOT_STARTABLE = "not-startable"


@dataclass(frozen=True)
class Ran:
    """How the program ended. `exit_code` is negative for a signal; meaningless when `fault` is set."""

    exit_code: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    fault: Fault | None = None
    detail: str = ""


async def run_capped(
    argv: Sequence[str], *, env: Mapping[str, str], seconds: float, stdin: bytes = b"", cap: int = CAP
) -> Ran:
    """Run `argv` for at most `seconds`; never raises for what it does. `cap` is for stdout and stderr each."""
    try:
        enclosing = Enclosure()
    except OSError as error:
        return Ran(fault=Fault.NOT_STARTABLE, detail=str(error))
    with enclosing as enclosure:
        try:
            process = _start(argv, env, enclosure.marker)
        except (OSError, ValueError) as error:
            return Ran(fault=Fault.NOT_STARTABLE, detail=str(error))
        enclosure.admit(process.pid)
        return await _attend(process, enclosure, stdin, seconds, cap)


def _start(argv: Sequence[str], env: Mapping[str, str], marker: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        cwd="/",
        start_new_session=True,
        pass_fds=(marker,),
        bufsize=0,
    )


async def _attend(
    process: "subprocess.Popen[bytes]", enclosure: Enclosure, stdin: bytes, seconds: float, cap: int
) -> Ran:
    flooded = asyncio.get_running_loop().create_future()
    outputs = [_Intake(pipe.fileno(), cap, flooded) for pipe in (process.stdout, process.stderr) if pipe]
    feed = _Feed(process.stdin, stdin)
    over = asyncio.ensure_future(_ended(process.pid))
    try:
        await asyncio.wait({over, flooded}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        fault = Fault.FLOOD if flooded.done() else None if over.done() else Fault.TIMEOUT
        await enclosure.end()
        if fault is None:
            # All writers are dead, so what is in the pipes is all there will ever be.
            await asyncio.wait([output.ended for output in outputs], timeout=_DRAIN)
            fault = Fault.FLOOD if flooded.done() else None
        await asyncio.wait({over}, timeout=_DRAIN)
    finally:
        enclosure.strike_all()
        for end in (*outputs, feed):
            end.close()
        await _reap(process, over)
    detail = f"took longer than {seconds:g} s" if fault is Fault.TIMEOUT else ""
    detail = f"wrote more than {cap} bytes" if fault is Fault.FLOOD else detail
    return Ran(process.returncode or 0, bytes(outputs[0].data), bytes(outputs[1].data), fault, detail)


async def _ended(pid: int) -> None:
    """Return when the child has ended, without reaping it: its id stays ours until the group is dead."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(handle, lambda: ended.done() or ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def _reap(process: "subprocess.Popen[bytes]", over: "asyncio.Future[None]") -> None:
    if over.done() and not over.cancelled():
        process.wait()
    else:
        over.cancel()
        # Killed, but still held by the kernel: let a thread wait, never the loop. Without one, the next child's start
        # reaps it.
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=process.wait, daemon=True).start()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


class _Intake:
    """Reads one pipe as it fills, keeps the first `cap` bytes and reports when there are more."""

    def __init__(self, fd: int, cap: int, flooded: "asyncio.Future[None]") -> None:
        self.data = bytearray()
        self._fd, self._cap, self._flooded = fd, cap, flooded
        self._loop = asyncio.get_running_loop()
        self.ended = self._loop.create_future()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._ready)

    def _ready(self) -> None:
        try:
            chunk = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self.data += chunk[: self._cap - len(self.data) + 1]
        if len(self.data) > self._cap:
            del self.data[self._cap :]
            if not self._flooded.done():
                self._flooded.set_result(None)
            chunk = b""
        if not chunk:
            self.close()

    def close(self) -> None:
        if not self.ended.done():
            self._loop.remove_reader(self._fd)
            self.ended.set_result(None)


class _Feed:
    """Writes the input as the child takes it; a child that does not read it is no fault."""

    def __init__(self, pipe: IO[bytes] | None, data: bytes) -> None:
        if pipe is None:
            raise ValueError("a child without stdin")
        self._pipe, self._fd, self._left = pipe, pipe.fileno(), memoryview(data)
        self._loop = asyncio.get_running_loop()
        os.set_blocking(self._fd, False)
        self._loop.add_writer(self._fd, self._ready)

    def _ready(self) -> None:
        try:
            if self._left:
                self._left = self._left[os.write(self._fd, self._left[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self._left = self._left[:0]
        if not self._left:
            self.close()

    def close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_writer(self._fd)
            self._pipe.close()
