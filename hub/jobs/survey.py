"""What the plan of a job is made from: the job, its executions and tenders, and the fleet as it is now."""

from collections import Counter
from collections.abc import Mapping

from hub.auctions.orders import Orders
from hub.auctions.ranking import Deferred, Question, Ranked, Wanted, rank
from hub.courier import Courier
from hub.fleet.absence import Absence
from hub.fleet.registry import Registry
from hub.jobs.board import Board, LiveJob
from hub.jobs.quotas import Quotas
from hub.scheduler import OVER, Facts, is_in_doubt
from hub.scheduler.waiting import sleepers
from wire import clock
from wire.states import ExecutionState, JobType


class Survey:
    """Gathers the facts of one job at a time. Changes nothing."""

    def __init__(
        self,
        *,
        registry: Registry,
        board: Board,
        courier: Courier,
        orders: Orders,
        quotas: Quotas,
        absence: Absence,
        weights: Mapping[str, float] | None,
    ) -> None:
        self._registry, self._board, self._courier, self._orders = registry, board, courier, orders
        self._quotas, self._absence, self._weights = quotas, absence, dict(weights or {})

    def facts(self, live: LiveJob, *, held: bool) -> Facts:
        """All that `scheduler.plan` looks at. `held`: nodes of a restored hub may have done what is missing here."""
        nodes = {e.node_id for e in live.executions.values() if is_in_doubt(e)}
        return Facts(
            job=live.job,
            executions=list(live.executions.values()),
            tenders=live.tenders,
            rollout=live.rollout,
            stable=live.stable,
            allowance=self._quotas.allowance(live.job.namespace),
            ranked=Deferred(lambda wanted: self._rank(live, wanted)),
            now=clock.unix_ns(),
            away=self._absence.of(nodes),
            told={} if held else self._absence.told(nodes),
            backlog=self._board.waiting > len(self._registry.nodes),
            settling=held
            or not self._courier.connected
            or clock.monotonic() < self._courier.up_at + self._orders.settle,
        )

    def awaited(self, job_id: str) -> list[Ranked]:
        """Nodes that sleep and are asked when they wake, the first to be back before the others; none if not needed."""
        live = self._board.jobs.get(job_id)
        if live is None:
            return []
        facts = self.facts(live, held=False)
        kept = [e for e in facts.current if e.state not in OVER or e.accepted]
        if live.job.type in {JobType.BATCH, JobType.SERVICE}:
            return sleepers(facts) if len(kept) < live.job.spec.count else []
        return [entry for entry in sleepers(facts) if entry.node_id not in {e.node_id for e in facts.current}]

    def weights_of(self, live: LiveJob) -> dict[str, float]:
        """How much each part of a rank counts: the owner's words, and above them the job's."""
        own = live.job.spec.bidding.weights
        return self._weights | own if own else self._weights

    def _rank(self, live: LiveJob, wanted: Wanted) -> list[Ranked]:
        current = [e for e in live.executions.values() if e.job_version == live.job.version]
        failed = [e.node_id for e in current if e.state in {ExecutionState.FAILED, ExecutionState.TIMED_OUT}]
        nodes = self._registry.nodes
        owners = {node_id: owner for node_id, owner in self._board.kept.items() if owner != live.job.id}
        question = Question(
            job=live.job.spec,
            requested=live.requested,
            now=clock.unix_ns(),
            monotonic=clock.monotonic(),
            placed=Counter(e.node_id for e in current),
            failed=Counter(failed),
            avoid={
                n: reason for n, (since, reason) in live.avoid.items() if n not in nodes or nodes[n].changed <= since
            },
            weights=self.weights_of(live),
            kept={n: self._board.jobs[j].job.name for n, j in owners.items() if j in self._board.jobs},
        )
        return rank(question, [node for node in nodes.values() if wanted(node.id)])
