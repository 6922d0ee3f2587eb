"""Quotas of namespaces: what is in use, and whether one more job or execution fits."""

import dataclasses

from hub.jobs.board import Board
from hub.policy import Policy, Quota
from hub.store import usage
from hub.store.records import ExecutionRecord, JobRecord
from wire import clock
from wire.database import Connection, Database
from wire.failures import Forbidden
from wire.quantities import format_size
from wire.states import TERMINAL_EXECUTIONS

MOST_COUNTED = 1_000_000


class QuotaExceeded(Forbidden):
    """A namespace has all that its quota allows."""

    code = "QuotaExceeded"


class Quotas:
    """Judges by the policy. CPU time of work that runs is counted too; what has ended is read every few seconds."""

    def __init__(self, policy: Policy, board: Board) -> None:
        self._policy, self._board = policy, board
        self._spent: dict[str, float] = {}

    def admit(self, connection: Connection, record: JobRecord) -> None:
        """In the transaction that stored a job or a version of one. Raises QuotaExceeded, which undoes it."""
        quota, name = self._policy.quota(record.namespace), record.namespace
        if quota.jobs is not None:
            jobs = usage.open_jobs(connection, name, quota.jobs + 1)
            _refuse(name, "jobs", jobs > quota.jobs, f"{quota.jobs} jobs that have not ended", "stop one, or wait")
        if quota.stored_bytes is not None:
            most = quota.stored_bytes
            told = f"{format_size(most)} of specifications, inline data, output and kept results"
            _refuse(name, "stored", usage.stored(connection, name) > most, told, "purge jobs that have ended")
        if quota.cpu_seconds is not None:
            spent = self._cpu(connection, name, quota)
            told = f"{quota.cpu_seconds:g} CPU-seconds in {quota.period / 86_400:g} days"
            _refuse(name, "cpu_seconds", spent >= quota.cpu_seconds, told, "wait until the period has passed")

    def allowance(self, namespace: str) -> int | None:
        """How many more executions may start now. None: there is no such quota."""
        quota = self._policy.quota(namespace)
        if quota.cpu_seconds is not None and self._spent.get(namespace, 0.0) + self._running(namespace) >= (
            quota.cpu_seconds
        ):
            return 0
        if quota.executions is None:
            return None
        auctions = self._board.auctions.values()
        offered = sum(self._namespace(a.record.job_id) == namespace for a in auctions)
        lives = self._board.jobs.values()
        placing = sum(live.placing.total() for live in lives if live.job.namespace == namespace)
        return max(0, quota.executions - len(self._alive(namespace)) - offered - placing)

    async def refresh(self, database: Database) -> None:
        """Read what the namespaces with a quota of CPU time have spent."""
        names = {live.job.namespace for live in self._board.jobs.values()}
        limited = [name for name in names if self._policy.quota(name).cpu_seconds is not None]
        for name in limited:
            quota = self._policy.quota(name)
            self._spent[name] = await database.read(lambda c, n=name, q=quota: self._cpu(c, n, q))

    async def used(self, database: Database, most: int) -> list[usage.Used]:
        """What each namespace uses now, by name."""

        def read(connection: Connection) -> list[usage.Used]:
            return [
                usage.Used(
                    name,
                    usage.open_jobs(connection, name, MOST_COUNTED),
                    0,
                    self._cpu(connection, name, self.quota(name)),
                    usage.stored(connection, name),
                )
                for name in usage.namespaces(connection, most)
            ]

        # The board belongs to the loop's thread, so what lives is added here.
        return [
            dataclasses.replace(
                one,
                executions=len(self._alive(one.namespace)),
                cpu_seconds=one.cpu_seconds + self._running(one.namespace),
            )
            for one in await database.read(read)
        ]

    def quota(self, namespace: str) -> Quota:
        return self._policy.quota(namespace)

    def _cpu(self, connection: Connection, namespace: str, quota: Quota) -> float:
        return usage.cpu_seconds(connection, namespace, clock.unix_ns() - int(quota.period * 1e9))

    def _namespace(self, job_id: str) -> str:
        live = self._board.jobs.get(job_id)
        return live.job.namespace if live else ""

    def _alive(self, namespace: str) -> list[ExecutionRecord]:
        lives = [live for live in self._board.jobs.values() if live.job.namespace == namespace]
        return [e for live in lives for e in live.executions.values() if e.state not in TERMINAL_EXECUTIONS]

    def _running(self, namespace: str) -> float:
        now = clock.unix_ns()
        return sum(e.requested.cpu * (now - e.created) / 1e9 for e in self._alive(namespace))


def _refuse(namespace: str, kind: str, over: bool, allowed: str, hint: str) -> None:  # noqa: FBT001
    if over:
        raise QuotaExceeded(
            f"the quota of namespace {namespace!r} is {allowed}",
            hint=hint,
            details={"Field": "Namespace", "Value": namespace, "Quota": kind},
        )
