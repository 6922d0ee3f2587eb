"""A node and a hub that do not agree: it is said again until it helps, and told to the operators when it does not."""

import asyncio
import logging

import pytest

from tests.support.hub_bench import BenchNode, HubBench, hub_bench, until
from tests.support.hub_process import wasm_job
from wire import messages as m
from wire.holding import digest
from wire.states import ExecutionState as E
from wire.states import NodeState
from wire.topics import Address, Channel

SOON = 0.05


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        running.hub.inbox.drift.soon = SOON
        yield running


class Claiming:
    """A node that says that it holds these, whatever it hears; asked to say everything again, it does that too."""

    def __init__(self, bench: HubBench, node: BenchNode, *items: m.HeldItem) -> None:
        self.bench, self.node, self.items = bench, node, list(items)
        self.heard: list[str] = []
        self.refused: list[str] = []
        self._hear, node.hear = node.hear, self.hear  # type: ignore[method-assign]

    async def hear(self, address: Address, message: m.Message) -> None:
        await self._hear(address, message)
        match message:
            case m.Want():
                self.heard.append("want")
            case m.Ack() if message.refusals:
                self.heard.append("refusal")
                self.refused += [one.execution_id for one in message.refusals]
                await self.say_held()
            case m.Command() if address.item == "resync":
                self.heard.append("resync")
                await self.say()
            case _:
                pass

    async def say(self) -> None:
        await self.node.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.ONLINE, next=30))
        await self.say_held()

    async def say_held(self) -> None:
        want = self.node.wants[-1].ver if self.node.wants else 0
        await self.node.say(Channel.HELD, m.Held(ep=1, want=want, items=self.items))


def drift_of(bench: HubBench, node: BenchNode):
    return bench.hub.registry.nodes[node.id].drift


async def checks(bench: HubBench, node: BenchNode) -> dict[str, str]:
    shown = (await bench.get(f"nodes/{node.id}"))["Node"]["Tender"]["Checks"]
    return {check["Name"]: check["Message"] for check in shown}


async def adrift(bench: HubBench) -> float:
    page = (await bench.call("GET", "/metrics")).text
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith("tender_nodes_adrift "))


async def test_a_node_that_keeps_claiming_what_nobody_wants_is_told_again_and_then_an_alarm_is_raised_once(
    bench, caplog
):
    node = Claiming(bench, await bench.node("north"), m.HeldItem("e-foreign", 2, E.RUNNING))
    with caplog.at_level(logging.INFO, "hub.fleet.drift"):
        await node.say()
        drift = await until(lambda: drift_of(bench, node.node))
        assert set(drift.what) == {"e-foreign"}
        asked = len(node.refused)
        await until(lambda: len(node.refused) > asked)  # it goes on being told, and the alarm is not said again
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 1
        assert "north" in said[0]
        assert "e-foreign" in said[0]
        assert "e-foreign" in (await checks(bench, node.node))["drift"]
        assert await adrift(bench) == 1
        node.items = []
        await node.say()
        await until(lambda: drift_of(bench, node.node) is None)
    assert "agree again" in caplog.records[-1].getMessage()
    assert "drift" not in await checks(bench, node.node)
    assert await adrift(bench) == 0
    assert set(node.refused) == {"e-foreign"}
    assert node.heard.index("refusal") < node.heard.index("resync")


async def test_exchanges_come_ever_more_seldom(bench):
    node = Claiming(bench, await bench.node("north"), m.HeldItem("e-foreign", 2, E.RUNNING))
    await node.say()
    await until(lambda: len(node.refused) == 5)
    (seen,) = bench.hub.inbox.drift.cases(node.node.id).values()
    assert seen.due - seen.said >= 16 * SOON


async def test_a_node_that_says_nothing_more_is_not_told_the_same_again(bench):
    node = Claiming(bench, await bench.node("north"), m.HeldItem("e-foreign", 2, E.RUNNING))
    node.node.hear = node._hear  # type: ignore[method-assign]  it hears, and answers nothing
    await node.say()
    await until(lambda: [ack for ack in node.node.acks if ack.refusals])
    silent, talking = node.node, Claiming(bench, await bench.node("south"), m.HeldItem("e-other", 2, E.RUNNING))
    await talking.say()
    await until(lambda: drift_of(bench, talking.node))
    assert drift_of(bench, silent) is None
    assert len([ack for ack in silent.acks if ack.refusals]) <= 2


async def test_a_result_whose_receipt_was_lost_is_let_go_by_the_wanted_set_that_comes_again(bench):
    node = await bench.node("north")
    await bench.finished(await bench.submit(wasm_job()))
    claiming = Claiming(bench, node, m.HeldItem(node.orders[0].execution_id, 3, E.COMPLETED))
    drift = bench.hub.inbox.drift
    await claiming.say()
    await until(lambda: drift.cases(node.id))
    claiming.heard.clear()
    await until(lambda: "want" in claiming.heard)
    claiming.items = []
    await claiming.say_held()
    await until(lambda: not drift.cases(node.id))
    assert not claiming.refused


async def test_a_wanted_set_that_was_lost_is_sent_again_until_the_node_says_that_it_has_it(bench):
    node = await bench.node("north")
    await bench.finished(await bench.submit(wasm_job()))
    await until(lambda: node.wants and node.wants[-1].ver and not node.wants[-1].items)  # that of its approval is 0
    newest = node.wants[-1].ver
    await node.say(Channel.HELD, m.Held(ep=1, want=newest - 1, items=[]))
    await node.say(Channel.HELD, m.Held(ep=1, want=newest - 1, items=[]))
    sent = len(node.wants)
    await until(lambda: len(node.wants) > sent)
    assert node.wants[-1].ver == newest
    await node.say(Channel.HELD, m.Held(ep=1, want=newest, items=[]))
    await until(lambda: not bench.hub.inbox.drift.cases(node.id))


async def test_a_word_that_was_lost_shows_in_the_health_report_and_is_asked_for(bench):
    claiming = Claiming(bench, await bench.node("north"))
    await claiming.say()
    claiming.items = [m.HeldItem("e-foreign", 2, E.RUNNING)]
    await claiming.node.say(Channel.HEALTH, m.Health(ep=1, held=digest(0, claiming.items)))
    await until(lambda: "refusal" in claiming.heard)
    assert claiming.heard.index("resync") < claiming.heard.index("refusal")


async def test_a_node_whose_birth_was_lost_is_asked_to_say_it_again(bench):
    claiming = Claiming(bench, await bench.node("north"))
    await claiming.node.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.OFFLINE))
    await claiming.node.say(Channel.HEALTH, m.Health(ep=1, held=digest(0, [])))
    await until(lambda: "resync" in claiming.heard)
    assert bench.hub.registry.nodes[claiming.node.id].status.state is NodeState.ONLINE


async def test_nodes_that_agree_are_told_nothing_more(bench):
    node = Claiming(bench, await bench.node("north"))
    node.node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job())
    await until(lambda: node.node.orders and node.node.wants and node.node.wants[-1].items)
    name = node.node.orders[0].execution_id
    node.items = [m.HeldItem(name, 2, E.RUNNING)]
    await node.say()
    other = Claiming(bench, await bench.node("south"), m.HeldItem("e-foreign", 2, E.RUNNING))
    await other.say()
    await until(lambda: drift_of(bench, other.node))
    assert drift_of(bench, node.node) is None
    assert not {"resync", "refusal"} & set(node.heard)
    await node.node.report(name, E.COMPLETED)
    await bench.finished(job_id)


async def test_a_change_of_what_a_node_can_do_that_was_lost_on_its_way_is_asked_for_anew(bench):
    node = await bench.node("north", digest="one")
    asked = []
    hear = node.hear

    async def answering(address: Address, message: m.Message) -> None:
        await hear(address, message)
        if isinstance(message, m.Command) and address.item == "resync":
            asked.append(message.seq)
            # The first answer is lost too.
            if len(asked) > 1:
                await node.say(Channel.CAPS, m.Capabilities(ep=1, name="north", publishers=["s3"], digest="two"))
            await node.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.ONLINE, next=30, caps="two"))
            await node.say(Channel.HELD, m.Held(ep=1, want=0, items=[]))

    node.hear = answering
    await node.say(Channel.HEALTH, m.Health(ep=1, held=digest(0, []), caps="two"))
    await until(lambda: bench.hub.registry.nodes[node.id].caps.publishers == ["s3"])
    await until(lambda: not bench.hub.inbox.drift.cases(node.id))
    assert len(asked) == 2


async def test_a_node_that_names_what_it_never_tells_is_an_alarm(bench):
    node = Claiming(bench, await bench.node("north", digest="one"))
    await node.say_held()
    while not drift_of(bench, node.node):
        await node.node.say(Channel.HEALTH, m.Health(ep=1, caps="two"))
        await asyncio.sleep(SOON)
    assert "the node names other capabilities than it said last" in (await checks(bench, node.node))["drift"]
    assert await adrift(bench) == 1


async def test_a_node_of_a_release_that_names_nothing_is_left_alone(bench):
    node = await bench.node("north")
    await node.say(Channel.HEALTH, m.Health(ep=1))
    known = bench.hub.registry.nodes[node.id]
    assert not known.caps_differ
