"""Child processes of the devstack: tied to its life, logged to files, started again when they die."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hub import launch
from wire import clock
from wire.failures import TenderError

BAD_SETTINGS = 78
QUICK = 5.0
"""A child that lived shorter than this failed to start."""
MOST_QUICK = 5
STOP_SECONDS = 15.0
TAIL = 2000


class ChildFailed(TenderError):
    """A child does not stay alive; the message holds the end of its log."""

    code = "ChildFailed"


@dataclass
class Child:
    """One process: `argv` below this interpreter, its output in `log`."""

    name: str
    argv: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])
    process: asyncio.subprocess.Process | None = None
    stopping: bool = False

    async def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C in the terminal reaches the devstack, which stops all in order."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # launch.py asks the kernel to end the child when this process dies, then becomes the child.
        launched = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(self.log.with_suffix(".pid"))]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *launched, sys.executable, *self.argv,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env={**os.environ, **self.environment},
            )  # fmt: skip

    async def keep(self, say: Callable[[str], None]) -> None:
        """Keep it alive until `stop`. Raises ChildFailed when that does not work."""
        quick = 0
        while True:
            assert self.process is not None  # noqa: S101  started before it is kept
            began = clock.monotonic()
            code = await self.process.wait()
            if self.stopping:
                return
            quick = quick + 1 if clock.monotonic() - began < QUICK else 0
            if code == BAD_SETTINGS or quick >= MOST_QUICK:
                raise ChildFailed(f"{self.name} ended with {code}:\n{self.tail()}", hint=f"see {self.log}")
            say(f"{self.name} ended with {code}; starting it again")
            await asyncio.sleep(0.2 * 2**quick)
            if self.stopping:
                return
            await self.start()

    async def stop(self) -> None:
        """End it: SIGTERM, and after a while SIGKILL."""
        self.stopping = True
        if self.process is None or self.process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None  # noqa: S101
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def tail(self) -> str:
        """The end of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return "(no log)"
