"""How the box is: checks, free capacity and counters, said when their class changes and at each interval."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence

from agent.bidding.capacity import Ledger
from agent.runner import Runner
from agent.store.outbox import OutboxTable
from agent.voice import Voice
from wire import clock
from wire.failures import TenderError
from wire.files.ballast import SPARE, SPARE_FILES, Room
from wire.messages import Check, Health
from wire.quantities import format_size
from wire.topics import Topics

log = logging.getLogger(__name__)
LOOK_EACH, CALM_EACH = 60.0, 300.0
"""Seconds between looks, and between those of a node at which nothing happens; what is said less often is only said
when it changed.
"""
SELDOM = 600.0
"""Seconds after which housekeeping is done though nothing was written since."""
LOW_DISK = 1024**3
LONG_OUTBOX = 1000
_CHECK_CAP = 12


class HealthReports:
    """`room` is what is free on the disk, `held` names what is held, `caps` what the node can do; `extra` are checks
    that others bring.

    `chores` are done at each look, one by one; `housekeeping`, which puts away what work left, only when something
    was written since (`commits` counts that), when the disk gets full, and now and then. `looked` is told what was
    seen.
    """

    def __init__(
        self,
        *,
        voice: Voice,
        ledger: Ledger,
        runner: Runner,
        outbox: OutboxTable,
        room: Callable[[], Room],
        interval: int,
        counters: Counter[str],
        held: Callable[[], str],
        caps: Callable[[], str],
        extra: Callable[[], Sequence[Check]],
        chores: Sequence[Callable[[], Awaitable[None]]],
        housekeeping: Sequence[Callable[[], Awaitable[None]]],
        commits: Callable[[], int],
        looked: Callable[[Sequence[Check]], Awaitable[None]],
    ) -> None:
        self._looked = looked
        self._voice, self._ledger, self._runner, self._outbox = voice, ledger, runner, outbox
        self._room, self._interval, self._counters = room, interval, counters
        self._held, self._caps, self._extra, self._chores = held, caps, extra, chores
        self._housekeeping, self._commits = housekeeping, commits
        self._seen = -1
        """How many commits there were at the last look."""
        self._kept_house = float("-inf")
        self._waiting_since = clock.monotonic()
        self.verdicts: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._said_at = float("-inf")
        self._soon = asyncio.Event()

    def look_soon(self) -> None:
        """Something has changed that must not wait for the next look."""
        self._soon.set()

    def came_up(self) -> None:
        """The link is open: a report that is due, or was never made, does not wait for the next look."""
        if clock.monotonic() - self._said_at >= self._interval - 1:
            self._soon.set()

    async def run(self, online: asyncio.Event) -> None:
        """Look for ever; returns only by cancellation."""
        loop = asyncio.get_running_loop()
        while True:
            quiet, self._seen = self._quiet, self._commits()
            for chore in self._due(clock.monotonic(), quiet=quiet):
                try:
                    await chore()
                except Exception:
                    log.exception("a chore failed; it is tried again in %.0f s", LOOK_EACH)
                    self._seen = -1
            checks = self._look(clock.monotonic())
            await self._looked(checks)
            if online.is_set():
                await self._report(checks)
            self._soon.clear()
            calm = quiet and self._quiet and not self._works and self.verdicts["disk"] == "pass"
            timer = loop.call_later(min(CALM_EACH if calm else LOOK_EACH, self._interval), self._soon.set)
            await self._soon.wait()
            timer.cancel()

    @property
    def _quiet(self) -> bool:
        """Whether nothing was written since the last look began."""
        return self._commits() == self._seen

    @property
    def _works(self) -> bool:
        return bool(self._runner.active or self._ledger.holds or self._outbox.depth)

    def _due(self, now: float, *, quiet: bool) -> Sequence[Callable[[], Awaitable[None]]]:
        if quiet and now - self._kept_house < SELDOM and self.verdicts["disk"] == "pass":
            return self._chores
        self._kept_house = now
        return [*self._housekeeping, *self._chores]

    async def _report(self, checks: Sequence[Check]) -> None:
        now = clock.monotonic()
        if self.verdicts == self._said and now - self._said_at < self._interval - 1:
            return
        try:
            await self._voice.say(self._health(checks, now))
        except TenderError as error:
            log.info("health was not said: %s", error)
            return
        self._said, self._said_at = self.verdicts, now

    def _look(self, now: float) -> list[Check]:
        """How things are now; `verdicts` has them by check from then on."""
        depth = self._outbox.depth
        if not depth:
            self._waiting_since = now
        checks = [
            disk_check(self._room()),
            outbox_check(depth),
            *self._extra(),
        ]
        self.verdicts = {check.name: check.verdict for check in checks}
        return checks

    def _health(self, checks: Sequence[Check], now: float) -> Health:
        depth = self._outbox.depth
        return Health(
            ep=self._voice.ep,
            free=self._ledger.free,
            running=self._runner.active,
            waiting=len(self._ledger.holds),
            outbox=depth,
            outbox_age=round(now - self._waiting_since, 1) if depth else 0.0,
            held=self._held(),
            caps=self._caps(),
            checks=list(checks[:_CHECK_CAP]),
            counters=dict(sorted(self._counters.items())[:40]),
        )


def disk_check(disk: Room) -> Check:
    """Free space and free inodes, the scarcer of the two; and whether anything can be written at all."""
    size, files = disk.size, disk.files
    if disk.read_only:
        return Check("disk", "fail", "the file system is read-only", "look for errors of the disk, then remount it")
    said = f"{format_size(size)} and {files} files are free"
    if size < SPARE or files < SPARE_FILES:
        return Check("disk", "fail", said, "free space where the agent's data lies")
    return Check("disk", "warn" if size < LOW_DISK or files < 10_000 else "pass", said)


def deaf_checks(topics: Topics, deaf: Collection[str]) -> list[Check]:
    """A failure while the broker takes messages for this node and does not deliver them."""
    addresses = [address for topic in sorted(deaf) if (address := topics.parse(topic)) is not None]
    if not addresses:
        return []
    said = f"the broker does not deliver {', '.join(address.channel for address in addresses)} to this node"
    return [Check("deaf", "fail", said, "look at the access list of the broker, or restart the broker")]


def outbox_check(depth: int) -> Check:
    if depth > LONG_OUTBOX:
        return Check("outbox", "warn", f"{depth} reports wait for the hub", "look at the link and at the hub")
    return Check("outbox", "pass", f"{depth} reports wait for the hub")
