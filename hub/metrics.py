"""What the hub counts for Prometheus. Labels come from fixed sets, so that their number stays small."""

import re
from collections import Counter as Count
from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hub.auctions.auction import Outcome
from hub.config import VERSION
from hub.courier import Courier
from hub.fleet.registry import Registry
from hub.jobs.board import Board
from hub.looplag import LoopLag
from hub.store.records import JobRecord
from wire import clock
from wire.database import Database
from wire.failures import TenderError
from wire.states import TERMINAL_JOBS, JobState, Membership, NodeState

disable_created_metrics()  # a second series for each, which Prometheus takes for a gauge
MOST_REASONS = 60
"""Different reasons of declines that are counted by name; nodes write them, so there has to be an end."""
_REASON = re.compile(r"[a-z][a-z0-9-]{0,39}")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """All counters of one hub, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lag = LoopLag()
        for one in (ProcessCollector, PlatformCollector, GCCollector):
            one(registry=self.registry)
        mine = self.registry
        self._answers = Histogram(
            "tender_api_seconds", "Time to answer.", ["method", "route", "status"], buckets=_SECONDS, registry=mine
        )
        self._refused = Counter("tender_api_refused", "Requests refused at the gate.", ["code"], registry=mine)
        self._auctions = Histogram(
            "tender_auction_seconds", "Length of auctions.", ["end"], buckets=_SECONDS, registry=mine
        )
        self._bids = Counter("tender_bids", "Answers to invitations.", ["answer"], registry=mine)
        self._declines = Counter("tender_declines", "Declines by their first reason.", ["reason"], registry=mine)
        self._hooks = Histogram(
            "tender_bid_hook_seconds", "Time of hooks on bids.", ["hook", "answer"], buckets=_SECONDS, registry=mine
        )
        self._ended = Counter("tender_jobs_ended", "Jobs that came to their end.", ["state"], registry=mine)
        self.deliveries = Counter("tender_webhook_deliveries", "Tries to deliver.", ["result"], registry=mine)
        self._reasons: set[str] = set()
        for state in TERMINAL_JOBS:
            self._ended.labels(state.value)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is the pattern, never the path."""
        self._answers.labels(method, route, str(status)).observe(seconds)

    def refused(self, error: TenderError) -> None:
        """A request did not get past the gate."""
        self._refused.labels(error.code).inc()

    def tender_ended(self, outcome: Outcome) -> None:
        """An auction is over."""
        record = outcome.record
        if record.closed is not None:
            self._auctions.labels(record.state.value).observe(max(0.0, (record.closed - record.opened) / 1e9))
        for bid in record.bids:
            self._bids.labels(bid.outcome).inc()
            if bid.outcome in {"declined", "excluded"}:
                self._declines.labels(self._known(bid.reasons[0].code if bid.reasons else "none")).inc()

    def hook_answered(self, hook: str, answer: str, seconds: float) -> None:
        """A hook on a bid said `yes` or `no`, or failed with a code."""
        self._hooks.labels(hook, answer).observe(seconds)

    def job_over(self, job: JobRecord) -> None:
        """A job came to its end."""
        self._ended.labels(job.state.value).inc()

    def _known(self, reason: str) -> str:
        if reason in self._reasons:
            return reason
        if len(self._reasons) >= MOST_REASONS or not _REASON.fullmatch(reason):
            return "other"
        self._reasons.add(reason)
        return reason

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)


class Live(Collector):
    """What is true now: read from memory when it is asked for, never from the tables."""

    def __init__(self, registry: Registry, board: Board, database: Database, lag: LoopLag, courier: Courier) -> None:
        self._registry, self._board, self._db = registry, board, database
        self._lag, self._courier = lag, courier

    def collect(self) -> Iterable[Metric]:
        nodes = list(self._registry.nodes.values())
        jobs = [live.job.state.value for live in self._board.jobs.values()]
        executions = [one.state.value for live in self._board.jobs.values() for one in live.executions.values()]
        now = clock.unix_ns()
        open_states = [state.value for state in JobState if state not in TERMINAL_JOBS]
        presence = [node.presence(now).value for node in nodes]
        yield _counted("tender_jobs", "Jobs that are not over, by state.", "state", jobs, open_states)
        yield _counted("tender_executions", "Executions of those jobs, by state.", "state", executions)
        yield _counted("tender_nodes", "Nodes by presence.", "state", presence, [state.value for state in NodeState])
        approval = [node.membership.value for node in nodes]
        members = [one.value for one in Membership]
        yield _counted("tender_node_memberships", "Nodes by membership.", "membership", approval, members)
        adrift = sum(node.drift is not None for node in nodes)
        yield _gauge("tender_nodes_adrift", "Nodes that do not agree with the hub on what they hold.", adrift)
        doubled = sum(node.runs.doubled(clock.monotonic()) for node in nodes)
        yield _gauge("tender_nodes_doubled", "Nodes as which two boxes speak by turns.", doubled)
        yield _gauge(
            "tender_hub_deaf", "Channels on which the broker delivers nothing to the hub.", self._courier.deaf()
        )
        health = [node.health for node in nodes if node.health is not None]
        yield _gauge("tender_outbox_rows", "Rows that nodes have not told yet.", sum(one.outbox for one in health))
        oldest = max((one.outbox_age for one in health), default=0.0)
        yield _gauge("tender_outbox_oldest_seconds", "Age of the oldest such row of all nodes.", oldest)
        yield _gauge("tender_auctions_open", "Auctions that run now.", len(self._board.auctions))
        yield _gauge("tender_jobs_waiting_for_room", "Jobs that no node has room for now.", self._board.waiting)
        yield _gauge("tender_loop_lag_seconds", "How late the loop was at most in the last 30 s.", self._lag.worst)
        commits, writes = float(self._db.commits), float(self._db.operations)
        yield CounterMetricFamily("tender_database_commits", "Commits since the start.", value=commits)
        yield CounterMetricFamily("tender_database_writes", "Writes in those commits.", value=writes)
        yield InfoMetricFamily("tender_build", "What runs here.", value={"version": VERSION})


class Heard(Collector):
    """What was not believed, and what nodes told of their work."""

    def __init__(self, documents: Mapping[str, int], rows: Mapping[str, int]) -> None:
        self._documents, self._rows = documents, rows

    def collect(self) -> Iterable[Metric]:
        refused = CounterMetricFamily(
            "tender_documents_refused", "Documents that were not acted on, by reason.", labels=["reason"]
        )
        for reason, count in sorted(self._documents.items()):
            refused.add_metric([reason], count)
        yield refused
        rows = CounterMetricFamily(
            "tender_report_rows", "Rows that nodes told, by what became of them.", labels=["end"]
        )
        for end, count in sorted(self._rows.items()):
            rows.add_metric([end], count)
        yield rows


def _gauge(name: str, says: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, value=value)


def _counted(name: str, says: str, label: str, found: Iterable[str], always: Iterable[str] = ()) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, says, labels=[label])
    counts = Count(found)
    for value in sorted({*counts, *always}):
        family.add_metric([value], counts[value])
    return family
