"""What is going on now, in memory: every job that has not ended, with its executions and open auctions.

SQLite is the truth; the board is read from it at start and follows each commit.
"""

import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hub.auctions.auction import Auction
from hub.store.records import ExecutionRecord, JobRecord, RolloutRecord, TenderRecord
from wire import clock
from wire.failures import Reason
from wire.resources import Resources
from wire.states import TERMINAL_EXECUTIONS, TERMINAL_JOBS, JobType, TenderState

AVOID_SECONDS = 30.0
"""A node that declined or refused a job is not asked for it again for so long."""
KEPT_TENDERS = 8
"""Tenders of each slot that the scheduler looks at; older ones stay in SQLite."""
KEPT_ENDS = 12
"""Ended executions of each place of a service or daemon that the scheduler looks at."""
KEPT_TRIES = 150
"""The same for jobs that end; more than a job may have attempts."""
POINT = 60 * 10**9
"""Nanoseconds of waiting that one point of priority is worth: whoever waits catches up with whoever is preferred."""
POINTS_MOST = 1440
"""Points of priority that count in the queue; what is beyond only breaks ties."""
KEEP_AFTER = 60.0
"""Seconds after which the room of a node is kept for a waiting job, so that small jobs cannot pass it for ever."""


@dataclass
class LiveJob:
    """One job that has not ended, or whose executions have not."""

    job: JobRecord
    requested: Resources
    executions: dict[str, ExecutionRecord] = field(default_factory=dict)
    rollout: RolloutRecord | None = None
    stable: int | None = None
    """The version that a failed rollout may go back to."""
    rests_until: float = 0.0
    """Monotonic time before which it is not planned anew."""
    placing: Counter[str] = field(default_factory=Counter[str])
    """Awards per node that are being committed."""
    places: Counter[str] = field(default_factory=Counter[str])
    """Executions per node, also those that ended."""
    _tenders: dict[tuple[int, int], list[TenderRecord]] = field(
        default_factory=dict[tuple[int, int], "list[TenderRecord]"]
    )
    _placed: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])
    _ended: dict[object, tuple[str, ...]] = field(default_factory=dict[object, "tuple[str, ...]"])
    _avoid: dict[str, tuple[float, int, Reason]] = field(default_factory=dict[str, tuple[float, int, Reason]])

    def placed_since(self, moment: int) -> Counter[str]:
        """How many executions each node got since a moment."""
        newer = self._placed[bisect.bisect_left(self._placed, (moment,)) :]
        return self.placing + Counter(node_id for _, _, node_id in newer)

    def avoid_node(self, node_id: str, reason: Reason) -> None:
        """Do not ask a node for a while."""
        self._avoid[node_id] = (clock.monotonic() + AVOID_SECONDS, clock.unix_ns(), reason)

    @property
    def avoid(self) -> dict[str, tuple[int, Reason]]:
        """Nodes that are not to be asked now, each with its reason and since when."""
        now = clock.monotonic()
        return {node_id: (since, reason) for node_id, (until, since, reason) in self._avoid.items() if until >= now}

    def take(self, record: ExecutionRecord) -> None:
        """Put an execution in, in place of its earlier state; of a place's ends only the newest are kept."""
        if record.id not in self.executions:
            bisect.insort(self._placed, (record.created, record.id, record.node_id))
            self.places[record.node_id] += 1
        self.executions[record.id] = record
        # Each version of a daemon has slots of its own on the same nodes.
        place = record.node_id if self.job.type is JobType.DAEMON else record.slot
        ends = self._ended.get(place, ())
        if record.state not in TERMINAL_EXECUTIONS:
            if record.id in ends:
                self._ended[place] = tuple(one for one in ends if one != record.id)
            return
        staying = self.job.type in {JobType.SERVICE, JobType.DAEMON}
        if record.id not in ends:
            ends = (*ends, record.id)
        if len(ends) > (KEPT_ENDS if staying else KEPT_TRIES):
            self.drop(ends[0])
            ends = ends[1:]
        self._ended[place] = ends

    def drop(self, execution_id: str) -> None:
        """Forget an execution; SQLite may know it still."""
        record = self.executions.pop(execution_id, None)
        if record is not None:
            del self._placed[bisect.bisect_left(self._placed, (record.created, record.id))]
            self.places[record.node_id] -= 1
            if not self.places[record.node_id]:
                del self.places[record.node_id]

    @property
    def tenders(self) -> list[TenderRecord]:
        """What is open, and the newest tenders of each slot of the current version, oldest first in each slot."""
        return [tender for kept in self._tenders.values() for tender in kept]

    def keep_tender(self, record: TenderRecord) -> None:
        """Put a tender in, in place of its earlier state."""
        place = (record.job_version, record.slot)
        kept = [t for t in self._tenders.get(place, []) if t.id != record.id]
        if record.job_version == self.job.version or record.state is TenderState.OPEN:
            self._tenders[place] = [*kept[1 - KEPT_TENDERS :], record]
        else:
            self._tenders.pop(place, None)

    @property
    def over(self) -> bool:
        """Nothing is left to do: the job is terminal and so are all executions."""
        return self.job.state in TERMINAL_JOBS and all(e.state in TERMINAL_EXECUTIONS for e in self.executions.values())


class Board:
    """All live jobs, open auctions, and the queue of jobs that wait for room."""

    def __init__(self) -> None:
        self.jobs: dict[str, LiveJob] = {}
        self.auctions: dict[str, Auction] = {}
        self._waiting: list[tuple[int, int, str]] = []
        self._place: dict[str, tuple[int, int, str]] = {}
        self.kept: dict[str, str] = {}
        """Nodes whose room is kept for a job, by its id."""
        self.keep_after = KEEP_AFTER

    def await_room(self, job: JobRecord) -> None:
        """Queue a job until work ends somewhere: higher priority first, but waiting makes up for priority."""
        if job.id in self._place:
            return
        points = max(-POINTS_MOST, min(POINTS_MOST, job.priority))
        place = (job.queued_since - points * POINT, -job.priority, job.id)
        self._place[job.id] = place
        bisect.insort(self._waiting, place)

    def stop_waiting(self, job_id: str) -> None:
        """The job is looked at now, or over."""
        place = self._place.pop(job_id, None)
        if place is not None:
            del self._waiting[bisect.bisect_left(self._waiting, place)]

    def next_waiting(self, most: int) -> list[str]:
        """The first jobs of the queue; they stay in it until they are looked at."""
        return [job_id for _, _, job_id in self._waiting[:most]]

    def keep_room(self, job: JobRecord, nodes: Iterable[str], fleet: int) -> None:
        """Keep the first of these nodes for a job that waits long; never more than a quarter of the fleet."""
        if job.id in self.kept.values() or clock.unix_ns() - job.queued_since < self.keep_after * 1e9:
            return
        if len(self.kept) < max(1, fleet // 4):
            found = next((node_id for node_id in nodes if node_id not in self.kept), None)
            if found is not None:
                self.kept[found] = job.id

    def give_up_room(self, job_id: str) -> None:
        """The job waits no longer."""
        for node_id in [node_id for node_id, owner in self.kept.items() if owner == job_id]:
            del self.kept[node_id]

    @property
    def waiting(self) -> int:
        return len(self._waiting)
