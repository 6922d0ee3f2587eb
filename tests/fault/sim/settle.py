"""What must be so when nothing goes wrong any more: everything agrees, nothing is left over, every result is there."""

from typing import Any

from agent.executors.run_folder import RunFolder
from tests.fault.sim.machines import NodeMachine
from tests.fault.sim.world import World
from wire.failures import TenderError
from wire.files import manifest
from wire.resources import Resources
from wire.states import TERMINAL_EXECUTIONS, ExecutionState

INTERVAL = 60.0
"""Seconds between two health reports in the profile of simulated nodes."""


async def settle(world: World, *, jobs_within: float = 7200.0) -> float:
    """Wait until all agree; returns the seconds that it took. Fails the simulation for what never does."""
    took = await world.until(lambda: not differences(world), 900.0, "hub and nodes agree", lambda: differences(world))
    await world.until(lambda: not world.open_jobs(), jobs_within, "all jobs end", world.open_jobs)
    await world.until(lambda: not differences(world), 900.0, "still", lambda: differences(world))
    await world.until(lambda: not leftovers(world), 900.0, "nothing is left over", lambda: leftovers(world))
    check_results(world)
    return took


def differences(world: World) -> list[str]:
    """What hub and nodes do not agree on."""
    hub = world.hub.hub
    process = world.hub.process
    if hub is None or process is None or process.dead:
        return ["the hub is not there"]
    found: list[str] = []
    now = world.now_ns()
    for node in world.nodes:
        if not node.alive or node.parts is None:
            found.append(f"{node.name} is not there")
            continue
        if not process.enter(hub.registry.nodes[node.id].here, now):
            found.append(f"the hub does not see {node.name}")
        if hub.registry.nodes[node.id].caps_differ:
            found.append(f"the hub does not know what {node.name} can do")
        found += _between(world, node)
    return found


def _between(world: World, node: NodeMachine) -> list[str]:
    assert node.parts is not None
    live = "', '".join(sorted(TERMINAL_EXECUTIONS))
    wanted = {
        row[0]: row[1]
        for row in world.query(
            f"SELECT id, state FROM executions WHERE node_id = ? AND state NOT IN ('{live}')",  # noqa: S608
            node.id,
        )
    }
    rows = node.stored.connection.execute("SELECT id, state, ver FROM executions").fetchall()
    here = {row["id"]: row["state"] for row in rows}
    found = [f"{node.name} lacks {x}, {state} at the hub" for x, state in wanted.items() if x not in here]
    found += [f"{node.name} holds {x}, {state}, which is not wanted" for x, state in here.items() if x not in wanted]
    found += [
        f"{x} is {state} at the hub and {here[x]} on {node.name}"
        for x, state in wanted.items()
        if x in here and here[x] != state
    ]
    outbox = node.parts.store.outbox
    found += [f"{node.name} has {outbox.depth} reports left"] if outbox.depth else []
    return found


def leftovers(world: World) -> list[str]:
    """What should be gone when no job is open: holds, auctions, resources on paper, work, folders."""
    hub = world.hub.hub
    if hub is None:
        return ["the hub is not there"]
    found = [f"auction {name}" for name in hub.board.auctions] + [f"job {name} on the board" for name in hub.board.jobs]
    found += [f"{one.name} is adrift: {one.drift}" for one in hub.registry.nodes.values() if one.drift]
    found += [
        f"resources of {one.name} on paper: {one.used} {one.offered}"
        for one in hub.registry.nodes.values()
        if one.used != Resources() or one.offered != Resources()
    ]
    for node in world.nodes:
        parts = node.parts
        if parts is None:
            found.append(f"{node.name} is not there")
            continue
        found += [f"hold {name} on {node.name}" for name in parts.ledger.holds]
        found += [f"hold {name} in the tables of {node.name}" for name in _column(node, "SELECT tender_id FROM holds")]
        found += [f"{parts.runner.active} executions under way on {node.name}"] if parts.runner.active else []
        found += [f"resources of {node.name} for {x}" for x in parts.ledger.allocations]
        found += [f"work {x} on {node.name}" for x in _work(node)]
    return found


def _column(node: NodeMachine, sql: str) -> list[Any]:
    return [row[0] for row in node.stored.connection.execute(sql)]


def _work(node: NodeMachine) -> list[str]:
    root = node.folder / "executions"
    if not root.is_dir():
        return []
    return [path.name for path in sorted(root.iterdir()) if RunFolder(path).started() is not None]


def check_results(world: World) -> None:
    """Every accepted result lies where its node said, with the bytes that it said; each job has what it needs."""
    by_id = {node.id: node for node in world.nodes}
    for x, status in world.hub_watch.results.items():
        if status.result is None or status.state is not ExecutionState.COMPLETED:
            continue
        if world.hub_watch.given[x][0] in world.purged:
            continue
        node = by_id[world.hub_watch.given[x][3]]
        results = node.folder / "executions" / x / "results"
        try:
            listed = manifest.load(results)
            manifest.verify(results, listed)
        except TenderError as error:
            world.fail("I6", f"the result of {x} on {node.name}: {error}")
        else:
            if listed.identity != status.result.manifest:
                world.fail("I6", f"the result of {x} on {node.name} is another one")
