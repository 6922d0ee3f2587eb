"""When a node is back that is away by plan: one that sleeps, is in maintenance, or has a link that opens on a schedule.

Times in unix nanoseconds.
"""

from hub.fleet.registry import OVERSLEPT, Node
from wire import clock
from wire.states import NodeState


def back_at(node: Node, now: int) -> int:
    """The wake that a sleeping node announced, or the end of its maintenance; else 0."""
    presence = node.presence(now)
    if presence is NodeState.MAINTENANCE:
        return node.upkeep.until
    asleep = presence is NodeState.SLEEPING and node.status is not None and node.status.next
    return now - int(node.overslept(now) * 1e9) if asleep else 0


def expected(node: Node, now: int) -> int:
    """When a node is expected whose link opens on a schedule; 0 when it is here, or given up.

    One that did not come when it should have, or whose goodbye was lost, has its next window left: a window that
    found no connection is not the end.
    """
    word = node.word(now)
    if word is NodeState.SLEEPING:
        return back_at(node, now)
    every = node.caps.every if node.caps else 0
    if not every or word not in {NodeState.LATE, NodeState.OFFLINE} or node.status is None:
        return 0
    if word is NodeState.OFFLINE:
        silent = clock.monotonic() - node.since_at
    else:
        silent = node.overslept(now) if node.status.state is NodeState.SLEEPING else node.age(now)
    left = every + OVERSLEPT - silent
    return now + int(left * 1e9) if left > 0 else 0
