"""The hub under random histories: never above capacity, no slot twice, no job lost, whatever happens in between."""

import asyncio
import uuid
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.hub_bench import BenchNode, HubBench, hub_bench, until
from tests.support.hub_process import wasm_job
from wire import messages as m
from wire.failures import Reason
from wire.resources import Resources
from wire.states import TERMINAL_EXECUTIONS, NodeState
from wire.states import ExecutionState as E
from wire.topics import Channel

ROOM = Resources(cpu=2, memory=10**10, disk=10**10)
NAMES = ("north", "south")
ACTIONS = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(["batch", "ops"]), st.integers(1, 3)),
    st.tuples(st.sampled_from(["complete", "fail", "repeat"]), st.integers(0, 5)),
    st.tuples(st.sampled_from(["stop", "update"]), st.integers(0, 3)),
    st.tuples(st.sampled_from(["leave", "return", "refuse"]), st.sampled_from(NAMES)),
    st.tuples(st.just("restart")),
)


class History:
    """Plays actions on a bench and looks at the tables after each."""

    def __init__(self, bench: HubBench) -> None:
        self.bench, self.jobs = bench, list[str]()
        self.refusing: Counter[str] = Counter()
        self.bids: dict[str, set[str]] = {name: set() for name in NAMES}
        self.ended: set[str] = set()

    def busy(self, node: BenchNode) -> int:
        """What a node has promised: work that it has not ended, and bids that nobody has answered."""
        running = len({order.execution_id for order in node.orders} - self.ended)
        answered = {award.tender_id for award in node.awards} | {order.tender_id for order in node.orders}
        return running + len(self.bids[node.name] - answered)

    def answer(self, node: BenchNode, invitation: m.Invitation) -> m.Bid | None:
        if self.refusing[node.name]:
            self.refusing[node.name] -= 1
            return node.decline(invitation, "busy", "busy just now")
        if self.busy(node) >= ROOM.cpu:
            return node.decline(invitation, "busy", "no room")
        self.bids[node.name].add(invitation.tender_id)
        return node.bid(invitation)

    async def begin(self) -> None:
        for name in NAMES:
            node = await self.bench.node(name, total=ROOM, per_job=ROOM)
            node.script = (E.ACCEPTED, E.RUNNING)
            node.on_invite = lambda invitation, node=node: self.answer(node, invitation)

    async def act(self, what: str, *how) -> None:
        match what:
            case "submit":
                kind, count = how
                task = {**wasm_job()["Tasks"][0], "Resources": {"CPU": "1"}}
                slots = {"Count": count} if kind == "batch" else {}
                name = f"job-{len(self.jobs)}"
                retry = {"Delay": 0, "MaxDelay": 0}
                self.jobs.append(name)
                await self.bench.submit(wasm_job(Type=kind, Name=name, Tasks=[task], Retry=retry, **slots))
            case "complete" | "fail" | "repeat":
                await self.end(what, *how)
            case "stop" if self.jobs:
                await self.bench.call("DELETE", f"jobs/{self.jobs[how[0] % len(self.jobs)]}")
            case "update" if self.jobs:
                await self.update(self.jobs[how[0] % len(self.jobs)])
            case "leave" | "return":
                state = NodeState.OFFLINE if what == "leave" else NodeState.ONLINE
                await self.bench.nodes[how[0]].say(Channel.STATE, m.NodeStatus(ep=1, state=state, next=30))
            case "refuse":
                self.refusing[how[0]] += 1
            case "restart":
                await self.bench.restart(announce=False)
                self.bench.hub.orders.settle = 1.0
                await self.bench.hub.inbox.up(session_present=False)
                for bids in self.bids.values():
                    bids.clear()  # the hub is away for longer than a hold
                for node in self.bench.nodes.values():
                    await node.rows()
            case _:
                pass

    async def update(self, name: str) -> None:
        job = (await self.bench.get(f"jobs/{name}"))["Job"]
        task = {**wasm_job()["Tasks"][0], "Resources": {"CPU": "1"}}
        slots = {"Count": job["Count"]} if job["Type"] == "batch" else {}
        changed = wasm_job(
            Type=job["Type"], Name=name, Tasks=[task], Retry={"Delay": 0, "MaxDelay": 0},
            Priority=job["Priority"] + 1, **slots,
        )  # fmt: skip
        await self.bench.submit(changed)

    async def end(self, what: str, place: int) -> None:
        """Let one execution end that its node believes to run, or say an end once more."""
        running = [(node, o.execution_id) for node in self.bench.nodes.values() for o in node.orders]
        if running:
            node, x = running[place % len(running)]
            self.ended.add(x)
            if what == "fail":
                await node.report(x, E.FAILED, reason=Reason("vanished", "it vanished"))
            else:
                await node.report(x, E.COMPLETED)

    async def check(self) -> None:
        """What must be so at any moment, and as soon as nothing is under way."""
        sql = "SELECT job_id, job_version, slot, node_id, state, accepted FROM executions"
        found = await self.bench.hub.database.write(lambda c: [tuple(row) for row in c.execute(sql)])
        alive = [row for row in found if E(row[4]) not in TERMINAL_EXECUTIONS]
        held = Counter(row[3] for row in alive)
        assert all(count <= ROOM.cpu for count in held.values()), "above capacity"
        assert max(Counter(row[:3] for row in alive).values(), default=0) <= 1, "a slot twice"
        assert max(Counter(row[:3] for row in found if row[5]).values(), default=0) <= 1, "a result twice"
        for node in self.bench.hub.registry.nodes.values():
            assert node.offered.cpu >= 0
            await until(lambda node=node, held=held: node.used.cpu == held[node.id], 5)

    async def finish(self) -> None:
        """All come back and work: then every job ends."""
        self.refusing.clear()
        for node in self.bench.nodes.values():
            node.script = (E.ACCEPTED, E.COMPLETED)
            node.on_invite = node.bid
            await node.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.ONLINE, next=30))
            await self.stop_or_complete(node)
        async with asyncio.timeout(60):
            for name in self.jobs:
                job = await self.bench.finished(name)
                assert job["State"]["StateType"] in {"Completed", "Failed", "Stopped"}
        await until(lambda: not self.bench.hub.board.jobs)
        await self.check()
        assert not self.bench.hub.board.auctions
        assert all(node.offered == Resources() for node in self.bench.hub.registry.nodes.values())

    async def stop_or_complete(self, node: BenchNode) -> None:
        for order in list(node.orders):
            self.ended.add(order.execution_id)
            await node.report(order.execution_id, E.COMPLETED)


@settings(
    max_examples=examples(8),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actions=st.lists(ACTIONS, min_size=1, max_size=14))
async def test_whatever_happens_nothing_is_lost_doubled_or_overfilled(tmp_path: Path, actions):
    async with hub_bench(tmp_path / uuid.uuid4().hex) as bench:
        history = History(bench)
        await history.begin()
        for action in actions:
            await history.act(*action)
            for _ in range(20):
                await asyncio.sleep(0)
            await asyncio.sleep(0.005)
            await history.check()
        await history.finish()
