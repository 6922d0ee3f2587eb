"""The ledger of a node: what executions use, what open bids hold, and that it never goes above what there is.

Pure: the caller brings the time (a monotonic clock) and keeps the rows. Amounts are whole thousandths
of a core, bytes and devices, so a sum that is kept never drifts.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.settings.limits import Capacity
from wire.resources import Resources

FALLBACK = Resources(cpu=0.1, memory=100 * 1024 * 1024)
"""What a job is taken to need when it does not say (as in Bacalhau)."""

_Amounts = tuple[int, int, int, int]


@dataclass(frozen=True)
class Hold:
    """Resources kept for one open bid until `expires` on the monotonic clock."""

    tender_id: str
    resources: Resources
    expires: float


class Outcome(StrEnum):
    """What came of asking for room. `held` and `allocated` are yes, also when it was so before."""

    HELD = "held"
    ALLOCATED = "allocated"
    TOO_LARGE = "too-large"
    NO_ROOM = "no-room"
    NO_SLOT = "no-slot"

    @property
    def granted(self) -> bool:
        return self in {Outcome.HELD, Outcome.ALLOCATED}


def with_fallback(requested: Resources) -> Resources:
    """The request with Bacalhau's amounts where it names neither CPU nor memory."""
    return Resources(
        cpu=requested.cpu if requested.cpu > 0 else FALLBACK.cpu,
        memory=requested.memory if requested.memory > 0 else FALLBACK.memory,
        disk=requested.disk,
        gpu=requested.gpu,
    )


class Ledger:
    """Who has what on this node. One owner: the agent's core, in its one thread."""

    def __init__(self, capacity: Capacity, *, max_executions: int = 100) -> None:
        self._total = _floor(capacity.total)
        self._per_job = _floor(capacity.per_job)
        self.total, self.per_job = _resources(self._total), _resources(self._per_job)
        self._slots = max_executions
        self._holds: dict[str, Hold] = {}
        self._allocations: dict[str, Resources] = {}
        self._used: _Amounts = (0, 0, 0, 0)

    @property
    def holds(self) -> Mapping[str, Hold]:
        return self._holds

    @property
    def allocations(self) -> Mapping[str, Resources]:
        return self._allocations

    @property
    def free(self) -> Resources:
        """What a new bid could get. Never negative, even after the owner lowered a limit under running work."""
        return _resources(_clip(_minus(self._total, self._used)))

    @property
    def free_slots(self) -> int:
        return max(0, self._slots - len(self._holds) - len(self._allocations))

    def try_hold(self, tender_id: str, resources: Resources, ttl: float, now: float) -> Outcome:
        """Keep `resources` for a bid. The same tender again keeps its first hold and amount (a repeated message)."""
        self.expire(now)
        if tender_id in self._holds:
            return Outcome.HELD
        outcome = self._room_for(resources)
        if outcome is Outcome.HELD:
            self._hold(Hold(tender_id, resources, now + ttl))
        return outcome

    def release(self, tender_id: str) -> bool:
        """Give up a hold. False if there is none, which is ordinary."""
        return self._let_go(tender_id) is not None

    def allocate(self, execution_id: str, resources: Resources, now: float, *, tender_id: str = "") -> Outcome:
        """Turn the hold of `tender_id` into an allocation; without one (direct, or expired) find room anew."""
        self.expire(now)
        if execution_id in self._allocations:
            return Outcome.ALLOCATED
        hold = self._let_go(tender_id)
        if hold is not None and not _fits(_ceil(resources), _ceil(hold.resources)):
            outcome = self._room_for(resources)
            if outcome is not Outcome.HELD:
                self._hold(hold)
                return outcome
        elif hold is None:
            outcome = self._room_for(resources)
            if outcome is not Outcome.HELD:
                return outcome
        self._give(execution_id, resources)
        return Outcome.ALLOCATED

    def keep_disk(self, execution_id: str) -> None:
        """The work has ended and its result is still here: only the disk is in use."""
        used = self._take_back(execution_id)
        if used is not None:
            self._give(execution_id, Resources(disk=used.disk))

    def free_allocation(self, execution_id: str) -> bool:
        """The execution has ended. False if it had nothing, which is ordinary."""
        return self._take_back(execution_id) is not None

    def expire(self, now: float) -> list[str]:
        """Drop the holds whose time is over; the tenders they were for."""
        gone = [hold.tender_id for hold in self._holds.values() if hold.expires <= now]
        for tender_id in gone:
            self._let_go(tender_id)
        return gone

    def restore(self, allocations: Mapping[str, Resources], holds: Iterable[Hold], now: float) -> None:
        """Take over stored rows after a start. Work that exists is counted even where limits were lowered since;
        holds that no longer fit, or are over, are dropped.
        """
        self._allocations, self._holds, self._used = {}, {}, (0, 0, 0, 0)
        for execution_id, resources in allocations.items():
            self._give(execution_id, resources)
        for hold in sorted(holds, key=lambda hold: hold.expires):
            self.try_hold(hold.tender_id, hold.resources, hold.expires - now, now)
        self.expire(now)

    def _room_for(self, resources: Resources) -> Outcome:
        needed = _ceil(resources)
        if not _fits(needed, self._per_job) or not _fits(needed, self._total):
            return Outcome.TOO_LARGE
        if not _fits(needed, _minus(self._total, self._used)):
            return Outcome.NO_ROOM
        return Outcome.HELD if self.free_slots else Outcome.NO_SLOT

    def _hold(self, hold: Hold) -> None:
        self._holds[hold.tender_id] = hold
        self._used = _plus(self._used, _ceil(hold.resources))

    def _let_go(self, tender_id: str) -> Hold | None:
        hold = self._holds.pop(tender_id, None)
        if hold is not None:
            self._used = _minus(self._used, _ceil(hold.resources))
        return hold

    def _give(self, execution_id: str, resources: Resources) -> None:
        self._allocations[execution_id] = resources
        self._used = _plus(self._used, _ceil(resources))

    def _take_back(self, execution_id: str) -> Resources | None:
        resources = self._allocations.pop(execution_id, None)
        if resources is not None:
            self._used = _minus(self._used, _ceil(resources))
        return resources


def _ceil(resources: Resources) -> _Amounts:
    """A demand: a started thousandth of a core is a whole one. Negative or endless amounts fit nowhere."""
    cpu = resources.cpu
    milli = math.ceil(round(cpu * 1000, 3)) if 0 <= cpu < 1e9 else 2**62
    rest = [amount if amount >= 0 else 2**62 for amount in (resources.memory, resources.disk, resources.gpu)]
    return milli, rest[0], rest[1], rest[2]


def _floor(resources: Resources) -> _Amounts:
    return math.floor(round(resources.cpu * 1000, 3)), resources.memory, resources.disk, resources.gpu


def _resources(amounts: _Amounts) -> Resources:
    return Resources(amounts[0] / 1000, amounts[1], amounts[2], amounts[3])


def _plus(a: _Amounts, b: _Amounts) -> _Amounts:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def _minus(a: _Amounts, b: _Amounts) -> _Amounts:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]


def _clip(amounts: _Amounts) -> _Amounts:
    return max(0, amounts[0]), max(0, amounts[1]), max(0, amounts[2]), max(0, amounts[3])


def _fits(needed: _Amounts, room: _Amounts) -> bool:
    """Nothing needed fits always, also where lowered limits have left less than nothing."""
    return all(want == 0 or want <= have for want, have in zip(needed, room, strict=True))
