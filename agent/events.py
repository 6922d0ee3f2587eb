"""What happened to the node, for its operators: starts, checks that turn, a clock that was set, hooks that break.

They go by the lossy lane: few an hour of each topic, small, and gone when the disk takes nothing for too long.
"""

import logging
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from agent.capabilities.probe import fingerprint
from agent.executors.process_names import boot_id
from agent.store import lanes
from agent.store.outbox import OutboxTable
from agent.store.store import Numbers
from wire import clock
from wire.failures import Reason, TenderError
from wire.messages import Capabilities, Check, NodeEvent

log = logging.getLogger(__name__)
MOST, WITHIN = 6, 3600.0
"""Events of one topic in so many seconds; how many more there were is told with the next."""
WAITING = 32
"""Newest events that wait for a disk that takes nothing."""
JUMP = 30.0
"""Seconds by which the wall clock has to move against the others to be worth a word."""
MESSAGE_CAP = 500
BOOT, CAPS = "told_boot", "told_caps"
"""Names of the numbers that say of which boot and of which capabilities was told last."""


@dataclass
class _Budget:
    since: float
    told: int = 0
    left_out: int = 0


class NodeEvents:
    """`looked` is called with the checks at each look at the box; `rebuilt`: this database is a new one."""

    def __init__(
        self,
        *,
        outbox: OutboxTable,
        numbers: Numbers,
        capabilities: Callable[[], Capabilities],
        rebuilt: Callable[[], bool],
    ) -> None:
        self._outbox, self._numbers = outbox, numbers
        self._capabilities, self._rebuilt = capabilities, rebuilt
        self._waiting: deque[NodeEvent] = deque(maxlen=WAITING)
        self._budgets: dict[str, _Budget] = {}
        self._verdicts: dict[str, Check] = {}
        self._can: Capabilities | None = None
        self._noted: Capabilities | None = None
        self._offset: float | None = None

    def note(self, topic: str, message: str) -> None:
        """Keep it for the next look, unless there were too many of this topic lately."""
        now = clock.monotonic()
        budget = self._budgets.setdefault(topic, _Budget(now))
        if now - budget.since >= WITHIN:
            budget.since, budget.told = now, 0
        if budget.told == MOST:
            budget.left_out += 1
            return
        more = f" ({budget.left_out} more were left out)" if budget.left_out else ""
        budget.told, budget.left_out = budget.told + 1, 0
        self._waiting.append(NodeEvent("", topic, message[:MESSAGE_CAP] + more, clock.unix_ns()))

    def hook_failed(self, reasons: Sequence[Reason]) -> None:
        """Faults among what hooks have said."""
        for reason in reasons:
            if reason.code.startswith("hook-") and not reason.code.startswith("hook-said-"):
                self.note("hook", f"{reason.message} ({reason.code})")

    async def looked(self, checks: Sequence[Check]) -> None:
        """See what is another than at the last look, and write down what waits. What cannot be written waits on."""
        if self._can is None:
            self._see_start()
            # What is only not there, as an engine, is not news at each start; what fails is.
            self._verdicts = {check.name: check for check in checks if check.verdict == "warn"}
        self._see_clock()
        self._see_checks(checks)
        try:
            await self._remember()
            while self._waiting:
                await self._outbox.tell(lanes.EVENT, msgspec.json.encode(self._waiting[0]))
                self._waiting.popleft()
        except TenderError as error:
            log.info("%d events of this node wait: %s", len(self._waiting), error)

    def _see_clock(self) -> None:
        offset = clock.unix() - clock.boottime()
        moved = offset - (offset if self._offset is None else self._offset)
        self._offset = offset
        if abs(moved) > JUMP:
            self.note("clock", f"the clock was set by {moved:+.0f} s")

    def _see_checks(self, checks: Sequence[Check]) -> None:
        now = {check.name: check for check in checks}
        for name in sorted(now.keys() | self._verdicts.keys()):
            check = now.get(name, Check(name, "pass", "is well again"))
            before = self._verdicts[name].verdict if name in self._verdicts else "pass"
            if check.verdict != before:
                self.note(name, f"{before} → {check.verdict}: {check.message}")
        self._verdicts = now

    def _see_start(self) -> None:
        """Whether the box was restarted, or only the agent."""
        self._can = self._capabilities()
        before = self._numbers.get(BOOT)
        how = "the agent was started again" if _boot() == before else "the box was restarted"
        self.note("start", f"{how if before else 'the agent was started for the first time'}, {self._can.agent}")
        if self._rebuilt():
            self.note("database", "the database was damaged and set aside; a new one was made")

    async def _remember(self) -> None:
        """Note the boot, and what this node can do: engines that come and go, and what the owner has changed."""
        if self._numbers.get(BOOT) != _boot():
            await self._numbers.put(**{BOOT: _boot()})
        now, before = self._capabilities(), self._numbers.get(CAPS)
        if now is self._noted:
            return
        number = int(fingerprint(now)[:12], 16)
        if number != before:
            await self._numbers.put(**{CAPS: number})
        self._noted = now
        if number == before:
            return
        if before:
            fields = [name for name in now.__struct_fields__ if getattr(now, name) != getattr(self._can, name)]
            what = f": {', '.join(fields)}" if fields else " since the last start"
            self.note("capabilities", f"what this node can do has changed{what}")
        self._can = now


def _boot() -> int:
    return zlib.crc32(boot_id().encode()) or 1
