"""Two boxes that speak as one node: the hub's operators hear of it, and neither gets work."""

import contextlib
import shutil

import aiomqtt  # noqa: TID251  the twin speaks without our link
import pytest

from tests.support.agent_bench import AgentBench, eventually
from tests.support.broker import broker_bench
from tests.support.fleet import AgentProcess
from tests.support.hub_bench import HubBench, hub_bench
from tests.support.hub_process import HubProcess, wasm_job
from tests.support.mqtt import PlainClient
from tests.support.scenario import until
from wire import messages as m
from wire.states import NodeState
from wire.topics import Address, Channel, Topics


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        yield running


async def checks(bench: HubBench, name: str) -> list[str]:
    shown = (await bench.get(f"nodes/{name}"))["Node"]["Tender"]["Checks"]
    return [check["Name"] for check in shown if check["Verdict"] == "fail"]


async def queued(bench: HubBench, job: str) -> None:
    live = bench.hub.board.jobs[job]
    await until(lambda: live.job.state == "queued")


async def test_two_boxes_with_one_identity_are_an_alarm_and_neither_gets_work(bench):
    node = await bench.node("north")

    async def born(run: str, ep: int) -> None:
        node.ep = ep
        await node.say(Channel.STATE, m.NodeStatus(ep=ep, state=NodeState.ONLINE, next=30, run=run))

    await born("a", 150)
    await born("b", 151)  # a restart
    await bench.finished(await bench.submit(wasm_job()))
    await born("copy", 101)  # refused as of an old epoch, and noted
    assert await checks(bench, "north") == []
    await born("b", 152)
    runs = bench.hub.registry.nodes[node.id].runs
    await until(lambda: runs.until > 0)
    assert await checks(bench, "north") == ["duplicate-identity"]
    assert "tender_nodes_doubled 1.0" in (await bench.call("GET", "/metrics")).text
    waits = wasm_job()
    waits["Tasks"][0]["Timeouts"] = {"QueueTimeout": 60}
    job = await bench.submit(waits)
    await queued(bench, job)
    assert len(node.orders) == 1
    runs.until = 0.0  # the quiet time is over
    bench.hub.dispatcher.wake_all()
    await bench.finished(job)
    assert await checks(bench, "north") == []


async def test_a_box_whose_session_another_one_takes_again_and_again_lets_it_have_it_for_a_while(tmp_path):
    async with broker_bench(tmp_path) as broker:
        bench = AgentBench(broker, tmp_path)
        me = bench.identity
        topic = Topics(broker.root).build(Address(Channel.STATE, me.node_id))
        other = me.signer.seal(topic, m.encode(m.NodeStatus(ep=1, state=NodeState.ONLINE, run="other")))
        async with bench.hub, bench.agent() as parts:
            await eventually(parts.sync.online.is_set)
            while not parts.counters["taken-over"]:
                before = parts.link.ep
                with contextlib.suppress(aiomqtt.MqttError):
                    async with PlainClient(broker.port, broker.context(me.node_id), me.node_id) as twin:
                        await twin.publish(topic, other, qos=1, retain=True)
                await eventually(lambda before=before: parts.counters["taken-over"] or parts.link.ep > before)
                await eventually(lambda: parts.counters["taken-over"] or parts.sync.online.is_set())
            assert parts.link.ep <= 5


@pytest.mark.long
async def test_two_real_agents_with_one_identity_are_noticed_within_a_minute(tmp_path):
    first = AgentProcess(tmp_path / "first", "box")
    second = AgentProcess(tmp_path / "second", "box")
    async with HubProcess(tmp_path / "hub") as hub:
        try:
            await first.start(await hub.token())
            await seen(hub, "pass", 60)
            await first.stop()
            await presence(hub, "offline")
            shutil.copytree(first.folder / "data", second.folder / "data")
            await first.start()
            await presence(hub, "online")
            await second.start()
            await seen(hub, "duplicate-identity", 90)
        finally:
            for one in (first, second):
                if one.process is not None:
                    await one.stop()


async def seen(hub: HubProcess, word: str, seconds: float) -> None:
    async def shown() -> bool:
        return word in str([node["Tender"]["Checks"] for node in (await hub.get("nodes"))["Nodes"]])

    await until(shown, seconds)


async def presence(hub: HubProcess, state: str) -> None:
    async def shown() -> bool:
        return [node["Tender"]["State"] for node in (await hub.get("nodes"))["Nodes"]] == [state]

    await until(shown, 60)
