"""What a node's absence means for its executions, and who keeps a slot when the node is back.

| away for | execution | slot |
| --- | --- | --- |
| less than `UNKNOWN_AFTER` | as it said last | its own |
| less than Disconnect.LostAfter | unknown | its own |
| longer | lost | tendered again, if Disconnect.Replace says so |
"""

import dataclasses
from collections.abc import Sequence

import msgspec

from hub.scheduler.rollout import UPDATED
from hub.scheduler.steps import OVER, Facts, Judge, LookAgain, S, Step, StopExecution
from hub.store.records import ExecutionRecord
from wire.jobs.job import Disconnect
from wire.states import LIVE_ON_NODE, TERMINAL_JOBS, Desired, ExecutionState, JobType

UNKNOWN_AFTER = 30.0
"""Seconds for which a node may be away, to restart its agent for instance, before its executions are unknown."""
WORD_WITHIN = 10.0
"""Seconds in which a node that came says what it holds."""
AT_NODE = frozenset(
    {
        ExecutionState.ACCEPTED,
        ExecutionState.PREPARING,
        ExecutionState.RUNNING,
        ExecutionState.PUBLISHING,
        ExecutionState.UNKNOWN,
    }
)
"""States that the absence of the node puts in doubt. An award that nobody accepted has a timer of its own."""
SETTLED = "Reconciliation"
"""Topic of what is decided between several executions of one slot."""
RESULT_CAME = "Another execution of its slot has given the result"
BACK = "The node with the earlier execution of the slot is back"
FORGOTTEN = "its node is back and no longer knows it"
REPLACED = "Its node was away; another execution has taken its slot"


def due(disconnect: Disconnect, away: float) -> tuple[ExecutionState | None, float | None]:
    """What an execution at a node is after so many seconds of absence, and seconds until that changes.

    No state: as it said last. No seconds: nothing changes any more.
    """
    lost = disconnect.lost_after
    if lost is not None and away >= lost:
        return ExecutionState.LOST, None
    if away >= UNKNOWN_AFTER:
        return ExecutionState.UNKNOWN, None if lost is None else lost - away
    return None, (UNKNOWN_AFTER if lost is None else min(UNKNOWN_AFTER, lost)) - away


def judge(facts: Facts) -> list[Step]:
    """The moves that absence and return ask for now, and when to look again."""
    disconnect, steps = facts.job.spec.disconnect, list[Step]()
    over = _is_over(facts)
    waits: list[float] = []
    for execution in facts.executions:
        if not is_in_doubt(execution):
            continue
        away = facts.away.get(execution.node_id)
        if away is None:
            steps += _returned(facts, execution)
            continue
        if execution.state not in AT_NODE:
            continue
        to, left = due(disconnect, away.seconds)
        if to is ExecutionState.LOST and over:
            # Its node has yet to be told that it is to stop: it stays known until then.
            to, left = ExecutionState.UNKNOWN, None
        if to is not None and to is not execution.state:
            steps.append(Judge(execution.id, to, _why(to, away.name, disconnect)))
        if left is not None:
            waits.append(left)
    return [*steps, LookAgain(max(0.05, min(waits)))] if waits else steps


def _is_over(facts: Facts) -> bool:
    return facts.job.state in TERMINAL_JOBS or facts.job.stop_reason is not None


def _returned(facts: Facts, execution: ExecutionRecord) -> list[Step]:
    """What becomes of an execution whose node is back and has said what it holds."""
    told = facts.told.get(execution.node_id)
    if told is None or told.items is None or not execution.ver:
        return []
    item = told.items.get(execution.id)
    if item is None:
        if execution.modified >= told.born or not told.whole:
            return []
        lost = Judge(execution.id, ExecutionState.LOST, FORGOTTEN)
        return [*([] if is_absent(execution) else [lost]), StopExecution(execution.id, FORGOTTEN, SETTLED)]
    if item.ver != execution.ver or item.state not in LIVE_ON_NODE:
        return []  # its report is on its way
    if execution.state is ExecutionState.UNKNOWN:
        return [Judge(execution.id, item.state, "")]
    if not is_absent(execution):
        return []
    if _is_over(facts) or not facts.is_current(execution) or not _takes_back(facts, execution):
        return [StopExecution(execution.id, REPLACED, SETTLED)]
    return [Judge(execution.id, item.state, "")]


def _takes_back(facts: Facts, execution: ExecutionRecord) -> bool:
    """Whether the slot is still free for it, as Disconnect.Reconcile says."""
    others = [e for e in facts.current if e.slot == execution.slot and e.id != execution.id]
    if execution.once and any(e.accepted for e in others):
        return False
    keeps = facts.job.spec.disconnect.reconcile == "keep_replacement"
    return not (keeps and any(e.state not in OVER for e in others))


def word_is_due(facts: Facts, mine: Sequence[ExecutionRecord]) -> LookAgain | None:
    """A moment of patience with a node that is back and has not yet said whether it has the lost execution still."""
    for execution in mine:
        told = facts.told.get(execution.node_id)
        if is_absent(execution) and told is not None and told.items is None:
            left = WORD_WITHIN - (facts.now - told.born) / S
            if 0 < left <= WORD_WITHIN:
                return LookAgain(left)
    return None


def _why(to: ExecutionState, name: str, disconnect: Disconnect) -> str:
    if to is ExecutionState.LOST:
        return f"node {name} was out of reach for longer than {disconnect.lost_after:g} s"
    return f"node {name} is out of reach; what it does is unknown until it is back"


def judged(facts: Facts, steps: Sequence[Step]) -> Facts:
    """The facts as they are once these moves are committed."""
    to = {step.execution_id: step for step in steps if isinstance(step, Judge)}
    if not to:
        return facts
    executions = [
        msgspec.structs.replace(e, state=to[e.id].state, message=to[e.id].message) if e.id in to else e
        for e in facts.executions
    ]
    return dataclasses.replace(facts, executions=executions)


def is_absent(execution: ExecutionRecord) -> bool:
    """Lost with its node, and welcome back: what was never accepted is lost too, but told to stop."""
    return execution.state is ExecutionState.LOST and execution.desired is Desired.RUN


def is_in_doubt(execution: ExecutionRecord) -> bool:
    """Whether it depends on its node being there or not what becomes of it."""
    return execution.state in AT_NODE or is_absent(execution)


def surplus(facts: Facts, alive: Sequence[ExecutionRecord]) -> list[Step]:
    """Whom to stop of several wanted in one slot, oldest first.

    They are two when a node came back after its slot was given to another, and, after a roll-back, when the slot
    has one of each version.
    """
    wanted = [e for e in alive if e.desired is Desired.RUN]
    if len(wanted) < 2:
        return []
    first, last = wanted[0], wanted[-1]
    rule = facts.job.spec.disconnect.reconcile
    if first.job_version == last.job_version:
        if rule == "keep_replacement":
            return [StopExecution(e.id, REPLACED, SETTLED) for e in wanted[:-1]]
        if rule == "first_result" and facts.job.type is JobType.BATCH:
            return []
    if first.job_version == last.job_version:
        return [StopExecution(e.id, BACK, SETTLED) for e in wanted[1:]]
    return [StopExecution(e.id, UPDATED) for e in wanted[1:]]
