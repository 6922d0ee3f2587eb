"""What is going on now, in memory: every job that has not ended, with its executions and open auctions.

SQLite is the truth; the board is read from it at start and follows each commit.
"""

import bisect
from collections import Counter
from dataclasses import dataclass, field

from hub.auction import Auction
from hub.store.records import ExecutionRecord, JobRecord, TenderRecord
from wire import clock
from wire.failures import Reason
from wire.resources import Resources
from wire.states import TERMINAL_EXECUTIONS, TERMINAL_JOBS

AVOID_SECONDS = 30.0
"""A node that declined or refused a job is not asked for it again for so long."""
KEPT_TENDERS = 20
"""Closed tenders of a job that the scheduler looks at; older ones stay in SQLite."""


@dataclass
class LiveJob:
    """One job that has not ended, or whose executions have not."""

    job: JobRecord
    requested: Resources
    executions: dict[str, ExecutionRecord] = field(default_factory=dict)
    tenders: list[TenderRecord] = field(default_factory=list)
    placing: Counter[str] = field(default_factory=Counter[str])
    """Awards per node that are being committed."""
    _avoid: dict[str, tuple[float, Reason]] = field(default_factory=dict[str, tuple[float, Reason]])

    def placed_since(self, moment: int) -> Counter[str]:
        """How many executions each node got since a moment."""
        return self.placing + Counter(e.node_id for e in self.executions.values() if e.created >= moment)

    def avoid_node(self, node_id: str, reason: Reason) -> None:
        """Do not ask a node for a while."""
        self._avoid[node_id] = (clock.monotonic() + AVOID_SECONDS, reason)

    @property
    def avoid(self) -> dict[str, Reason]:
        """Nodes that are not to be asked now, with the reason of each."""
        now = clock.monotonic()
        return {node_id: reason for node_id, (until, reason) in self._avoid.items() if until >= now}

    def keep_tender(self, record: TenderRecord) -> None:
        """Put a tender in, in place of its earlier state."""
        self.tenders = [*[t for t in self.tenders if t.id != record.id][-KEPT_TENDERS:], record]

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

    def await_room(self, job: JobRecord) -> None:
        """Queue a job until work ends somewhere: higher priority first, then the longest wait."""
        if job.id in self._place:
            return
        place = (-job.priority, job.queued_since, job.id)
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

    @property
    def waiting(self) -> int:
        return len(self._waiting)
