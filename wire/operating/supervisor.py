"""What a program tells the supervisor that started it: that it is ready, how it is, and that it still lives.

The protocol of systemd's notify socket, which other supervisors speak too: datagrams of `KEY=value` lines to the
address in NOTIFY_SOCKET. Without one nothing is said.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Self

from wire import clock
from wire.database import Connection, Database

log = logging.getLogger(__name__)
MOST_STATUS = 200
PATIENCE = 0.5
"""Seconds for a supervisor whose queue is full, as on a box that starts everything at once: a lost READY=1 would end
the program at its start's time limit."""
FULL_EACH = 3600.0
"""Seconds between signs of life that write a row. The others go through the writer too, but change no page: a row
with each of them would wear an SD card for nothing."""


class Supervisor:
    """`address` empty: nobody listens. `watchdog` is the time in seconds within which a sign of life is due, or 0."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address, self.watchdog = address, watchdog

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Self:
        """Take the variables out: children are not the ones who report."""
        address, pid = environ.pop("NOTIFY_SOCKET", ""), environ.pop("WATCHDOG_PID", "")
        micros = environ.pop("WATCHDOG_USEC", "")
        mine = pid in {"", str(os.getpid())}
        watchdog = int(micros) / 1e6 if mine and micros.isdigit() else 0.0
        return cls(address if address[:1] in {"/", "@"} else "", watchdog)

    @property
    def listens(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The start is done."""
        self._say(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        """One line for people: `systemctl status` shows it."""
        self._say(f"STATUS={_line(text)}")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    async def watch(self, alive: Callable[[], Awaitable[None]]) -> None:
        """Say that we live, after each time that `alive` returned. Never returns; what fails or hangs is not told."""
        while True:
            if self.watchdog <= 0:
                await asyncio.Event().wait()
            try:
                async with asyncio.timeout(self.watchdog):
                    await alive()
            except Exception:
                log.exception("no sign of life: the database does not write")
                self.status("the database does not write")
            else:
                self._say("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / 3)

    def _say(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(PATIENCE)
                channel.sendto(text.encode(), address)
        except OSError as error:
            log.warning("the supervisor was not told: %s", error)


class Writes:
    """Shows that the database still takes writes: through its one writer thread, under its write lock."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._written = float("-inf")

    async def __call__(self) -> None:
        """Raises what the database raises, and waits for as long as it hangs."""
        if clock.monotonic() - self._written < FULL_EACH:
            await self._db.write(lambda _connection: None)
        else:
            await self._db.write(_beat)
            self._written = clock.monotonic()


def _beat(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO meta (key, value) VALUES ('beat', '1')"
        " ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)"
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:MOST_STATUS]
