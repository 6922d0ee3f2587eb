"""What must hold after every commit: triggers tell of each changed row, which is held against all that came before."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from wire.messages import ExecutionStatus
from wire.states import EXECUTION_MOVES, TERMINAL_EXECUTIONS, TERMINAL_JOBS, ExecutionState, JobState

HUB_WATCH = """
CREATE TEMP TRIGGER IF NOT EXISTS w1 AFTER INSERT ON main.executions BEGIN
    SELECT journal('given', NEW.id, NEW.job_id, NEW.job_version, NEW.slot, NEW.node_id, NEW.state); END;
CREATE TEMP TRIGGER IF NOT EXISTS w2 AFTER UPDATE OF state, accepted, ver, status ON main.executions BEGIN
    SELECT journal('seen', NEW.id, OLD.state, NEW.state, OLD.accepted, NEW.accepted, OLD.ver, NEW.ver, NEW.status,
        NEW.once); END;
CREATE TEMP TRIGGER IF NOT EXISTS w3 AFTER UPDATE OF state, version ON main.jobs BEGIN
    SELECT journal('job', NEW.id, OLD.state, NEW.state, OLD.version, NEW.version); END;
CREATE TEMP TRIGGER IF NOT EXISTS w4 AFTER INSERT ON main.jobs BEGIN
    SELECT journal('submitted', NEW.id); END;
CREATE TEMP TRIGGER IF NOT EXISTS w5 AFTER UPDATE ON main.node_numbers BEGIN
    SELECT journal('numbers', NEW.node_id, OLD.status_o, NEW.status_o, OLD.event_o, NEW.event_o, OLD.want_ver,
        NEW.want_ver); END;
CREATE TEMP TRIGGER IF NOT EXISTS w6 AFTER UPDATE OF desired, desired_ver ON main.executions BEGIN
    SELECT journal('desired', NEW.id, OLD.desired, NEW.desired, OLD.desired_ver, NEW.desired_ver); END;
CREATE TEMP TRIGGER IF NOT EXISTS w7 AFTER UPDATE OF status ON main.nodes BEGIN
    SELECT journal('epoch', NEW.id, OLD.ep, json_extract(CAST(NEW.status AS TEXT), '$.ep')); END;
"""
NODE_WATCH = """
CREATE TEMP TRIGGER IF NOT EXISTS w1 AFTER INSERT ON main.executions BEGIN
    SELECT journal('taken', NEW.id, NEW.state); END;
CREATE TEMP TRIGGER IF NOT EXISTS w2 AFTER UPDATE OF state ON main.executions BEGIN
    SELECT journal('moved', NEW.id, OLD.state, NEW.state, OLD.ver, NEW.ver); END;
CREATE TEMP TRIGGER IF NOT EXISTS w3 AFTER INSERT ON main.outbox BEGIN
    SELECT journal('row', NEW.lane, NEW.o, NEW.body); END;
CREATE TEMP TRIGGER IF NOT EXISTS w4 AFTER UPDATE ON main.lanes BEGIN
    SELECT journal('lane', NEW.lane, OLD.last, NEW.last, OLD.acked, NEW.acked); END;
CREATE TEMP TRIGGER IF NOT EXISTS w5 AFTER DELETE ON main.executions BEGIN
    SELECT journal('forgotten', OLD.id, OLD.state); END;
"""
_status = msgspec.json.Decoder(ExecutionStatus)
SET_BY_HUB = {ExecutionState.UNKNOWN, ExecutionState.LOST}


class Violation(AssertionError):
    """An invariant does not hold. `name` is its number in the list."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class HubWatch:
    """The hub's commits. `given` outlives restores: what was ordered once stays known here."""

    def __init__(self, fail: Callable[[str, str], None]) -> None:
        self.fail = fail
        self.given: dict[str, tuple[str, int, int, str]] = {}
        self.accepted: dict[tuple[str, int, int], str] = {}
        self.results: dict[str, ExecutionStatus] = {}
        self.committed: dict[tuple[str, str], int] = {}
        self.ended: dict[str, str] = {}
        self.stopped: set[str] = set()
        self.jobs: set[str] = set()
        self.late = 0
        self.nodes: dict[str, NodeWatch] = {}

    def take(self, changes: list[tuple[Any, ...]]) -> None:
        for kind, *values in changes:
            getattr(self, f"_{kind}")(*values)

    def restored(self, numbers: Iterable[tuple[Any, ...]]) -> None:
        """The hub has another database now: what it has committed of nodes' reports is less."""
        for node, status, event in numbers:
            self.committed[node, "status"], self.committed[node, "event"] = status, event

    def _given(self, x: str, job: str, version: int, slot: int, node: str, state: str) -> None:
        del state
        self.given[x] = (job, version, slot, node)

    def _submitted(self, job: str) -> None:
        self.jobs.add(job)

    def _seen(
        self,
        x: str,
        old: str,
        new: str,
        had: int,
        accepted: int,
        old_ver: int,
        ver: int,
        status: bytes | None,
        once: int,
    ) -> None:
        before, now = ExecutionState(old), ExecutionState(new)
        if before is not now and now not in EXECUTION_MOVES[before]:
            self.fail("I7", f"the hub moved {x} from {old} to {new}")
        if ver < old_ver:
            self.fail("I7", f"the hub's version of {x} fell from {old_ver} to {ver}")
        if had and not accepted:
            self.fail("I2", f"an accepted result of {x} was taken back")
        if before in TERMINAL_EXECUTIONS and now is before and ver > old_ver:
            self.late += 1
        if accepted and not had:
            self._accept(x, status, once)

    def _accept(self, x: str, status: bytes | None, once: int) -> None:
        job, version, slot, node = self.given[x]
        other = self.accepted.setdefault((job, version, slot), x)
        if once and other != x:
            self.fail("I2", f"slot {slot} of {job} accepted {other} and then {x}")
        told = _status.decode(status or b"")
        self.results[x] = told
        theirs = self.nodes[node].told.get((x, told.ver))
        if theirs is None or theirs.state is not told.state or theirs.result != told.result:
            self.fail("I4", f"the hub accepted a result of {x} that {node} never told")

    def _job(self, job: str, old: str, new: str, old_version: int, version: int) -> None:
        if JobState(old) in TERMINAL_JOBS and old != new and version == old_version:
            self.fail("I7", f"job {job} went from {old} to {new}")

    def _desired(self, x: str, old: str, new: str, old_ver: int, ver: int) -> None:
        if ver <= old_ver and old != new:
            self.fail("I11", f"the wish for {x} went from {old} to {new} without a new version")
        if old != "run" and new == "run":
            self.fail("I11", f"{x} was stopped and is wanted again")
        if new != "run":
            self.stopped.add(x)

    def _epoch(self, node: str, old: int, new: int) -> None:
        if new < old:
            self.fail("I14", f"the hub believed what {node} said in epoch {new} after epoch {old}")

    def _numbers(self, node: str, s: int, status: int, e: int, event: int, want: int, wanted: int) -> None:
        for lane, before, now in (("status", s, status), ("event", e, event)):
            if now < before:
                self.fail("I5", f"the hub's number of lane {lane} of {node} fell from {before} to {now}")
            theirs = self.nodes[node].last.get(lane, 0) if node in self.nodes else now
            if now > theirs:
                self.fail("I5", f"the hub has {now} rows of lane {lane} of {node}, which has committed {theirs}")
            self.committed[node, lane] = now
        if wanted < want:
            self.fail("I5", f"the version of the wanted set of {node} fell from {want} to {wanted}")


class NodeWatch:
    """One node's commits."""

    def __init__(self, node: str, hub: HubWatch, fail: Callable[[str, str], None]) -> None:
        self.node, self._hub, self.fail = node, hub, fail
        self.last: dict[str, int] = {}
        self.acked: dict[str, int] = {}
        self.told: dict[tuple[str, int], ExecutionStatus] = {}
        self.taken: dict[str, int] = {}
        self.ended: dict[str, ExecutionState] = {}
        self.forgotten: set[str] = set()
        self.check: Callable[[], None] = lambda: None
        hub.nodes[node] = self

    def take(self, changes: list[tuple[Any, ...]]) -> None:
        for kind, *values in changes:
            getattr(self, f"_{kind}")(*values)
        self.check()

    def _taken(self, x: str, state: str) -> None:
        del state
        if x in self.taken:
            self.fail("I11", f"{self.node} took {x} a second time")
        self.taken[x] = 1
        given = self._hub.given.get(x)
        if given is None or given[3] != self.node:
            self.fail("I13", f"{self.node} took {x}, which the hub never gave it")

    def _moved(self, x: str, old: str, new: str, old_ver: int, ver: int) -> None:
        before, now = ExecutionState(old), ExecutionState(new)
        if now not in EXECUTION_MOVES[before] or now in SET_BY_HUB:
            self.fail("I7", f"{self.node} moved {x} from {old} to {new}")
        if ver != old_ver + 1:
            self.fail("I5", f"{self.node} numbered {x} {ver} after {old_ver}")
        if now in TERMINAL_EXECUTIONS:
            self.ended[x] = now

    def _row(self, lane: str, o: int, body: bytes) -> None:
        if o != self.last.get(lane, 0) + 1:
            self.fail("I5", f"{self.node} wrote row {o} of lane {lane} after {self.last.get(lane, 0)}")
        self.last[lane] = o
        if lane == "status":
            status = _status.decode(body)
            self.told[status.id, status.ver] = status

    def _lane(self, lane: str, last: int, now: int, old: int, acked: int) -> None:
        del last, now
        if acked > old and acked > self._hub.committed.get((self.node, lane), 0):
            have = self._hub.committed.get((self.node, lane), 0)
            self.fail("I5", f"{self.node} believes that {acked} rows of lane {lane} are committed; the hub has {have}")
        self.acked[lane] = acked

    def _forgotten(self, x: str, state: str) -> None:
        self.forgotten.add(x)
        if state == ExecutionState.COMPLETED and x not in self._hub.results and x not in self._hub.stopped:
            record = self._hub.given.get(x)
            slot = self._hub.accepted.get(record[:3]) if record else None
            if slot is None:
                self.fail("I1", f"{self.node} forgot the result of {x}, which the hub has not")
