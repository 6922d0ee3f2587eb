"""Nobody in between is trusted: what is edited, moved, repeated, old or made up does nothing but count."""

import msgspec
import pytest

from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job
from wire import messages as m
from wire.jobs.job import ResultPath
from wire.link import Outgoing
from wire.signing import Signer
from wire.states import Desired, NodeState
from wire.states import ExecutionState as E
from wire.topics import Address, Channel

__all__ = ["agent_bench"]
OTHER = "n-0b0b0b0b-0000-4000-8000-00000000000b"


async def settled(bench: AgentBench) -> None:
    """All that was published before has been taken: a later tender is answered."""
    assert (await bench.hub.invite("t-later", fake_job())).bid


async def test_an_order_by_another_key_is_not_executed(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        forged = bench.hub.seal(bench.hub.order("e-1", fake_job()), "e-1", signer=Signer(b"x" * 32))
        await bench.hub.put(Channel.SPEC, "e-1", forged)
        await settled(bench)
        assert parts.counters["forged"] == 1
        assert not parts.store.executions.known
        assert not (parts.root / "e-1").exists()


async def test_a_result_is_never_put_outside_its_folder_whoever_signed_the_order(bench: AgentBench):
    job = fake_job(publisher="local")
    paths = [ResultPath("../../../outside", "/out")]
    job = msgspec.structs.replace(job, tasks=[msgspec.structs.replace(job.task, result_paths=paths)])
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", job)
        failed = await bench.hub.status("e-1", E.FAILED)
        assert failed.reason is not None
        assert failed.reason.code == "bad-params"
    assert not (bench.data / "outside").exists()


async def test_a_flood_of_forgeries_is_counted_and_fills_no_log(bench: AgentBench, caplog: pytest.LogCaptureFixture):
    async with bench.agent() as parts:
        await bench.hub.online()
        for number in range(12):
            await bench.hub.put(Channel.SPEC, f"e-{number}", b"\x01" * 200)
        await settled(bench)
        assert parts.counters["forged"] == 12
    said = [record.getMessage() for record in caplog.records if "refused a document" in record.getMessage()]
    assert [line.partition(")")[0] for line in said] == [
        "refused a document (1 of forged",
        "refused a document (10 of forged",
    ]


async def test_an_order_with_one_bit_changed_is_not_executed(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        sealed = bytearray(bench.hub.seal(bench.hub.order("e-1", fake_job()), "e-1"))
        sealed[-10] ^= 1
        await bench.hub.put(Channel.SPEC, "e-1", bytes(sealed))
        await settled(bench)
        assert parts.counters["forged"] == 1
        assert not parts.store.executions.known


async def test_an_order_that_was_signed_for_another_node_is_not_executed(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        elsewhere = bench.hub.topics.build(Address(Channel.SPEC, OTHER, "e-1"))
        moved = bench.hub.seal(bench.hub.order("e-1", fake_job()), topic=elsewhere)
        await bench.hub.put(Channel.SPEC, "e-1", moved)
        await settled(bench)
        assert parts.counters["forged"] == 1
        assert not parts.store.executions.known


async def test_an_order_whose_topic_names_another_execution_is_not_executed(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.put(Channel.SPEC, "e-2", bench.hub.seal(bench.hub.order("e-1", fake_job()), "e-2"))
        await settled(bench)
        assert parts.counters["malformed"] == 1
        assert not parts.store.executions.known


@pytest.mark.parametrize("when", ["running", "finished", "after a restart"])
async def test_a_repeated_order_is_executed_once(bench: AgentBench, when: str):
    job = fake_job(run_for=600 if when == "running" else 0)
    order = bench.hub.order("e-1", job)
    sealed = bench.hub.seal(order, "e-1")
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.put(Channel.SPEC, "e-1", sealed)
        await bench.hub.status("e-1", E.RUNNING if when == "running" else E.COMPLETED)
        if when != "running":
            await eventually(lambda: not parts.store.executions.known)
        if when != "after a restart":
            await bench.hub.put(Channel.SPEC, "e-1", sealed)
            await settled(bench)
            counted = "repeated-order" if when == "running" else "replay"
            await eventually(lambda: parts.counters[counted] == 1)
    if when == "after a restart":
        async with bench.agent() as parts:
            await bench.hub.next(m.Held, len(bench.hub.all(m.Held)))
            await bench.hub.put(Channel.SPEC, "e-1", sealed)
            await eventually(lambda: parts.counters["replay"] == 1)
    assert [status.state for status in bench.hub.statuses["e-1"]].count(E.ACCEPTED) == 1


async def test_documents_of_an_older_epoch_of_the_hub_are_refused_also_after_a_restart(bench: AgentBench):
    old = bench.hub.seal(bench.hub.order("e-1", fake_job()), "e-1")
    async with bench.agent() as parts:
        await bench.hub.online()
        bench.hub.ep = 2
        await bench.hub.appear()
        await eventually(lambda: parts.store.numbers.get("hub_ep") == 2)
        await bench.hub.put(Channel.SPEC, "e-1", old)
        await settled(bench)
        assert parts.counters["stale-epoch"] == 1
    async with bench.agent() as parts:
        await bench.hub.next(m.Held, len(bench.hub.all(m.Held)))
        await bench.hub.put(Channel.SPEC, "e-1", old)
        await eventually(lambda: parts.counters["stale-epoch"] == 1)
        assert not parts.store.executions.known


async def test_an_older_wanted_set_changes_nothing(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(run_for=600))
        await bench.hub.status("e-1", E.RUNNING)
        await bench.hub.want(("e-1", 1, Desired.RUN), ver=5)
        await bench.hub.want(("e-1", 9, Desired.STOP), ver=4)
        await settled(bench)
        assert parts.counters["stale-want"] == 1
        assert parts.store.executions.known["e-1"].state is E.RUNNING


async def test_hostile_bytes_are_counted_and_the_rest_goes_on(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        body = b'{"ep":1,"execution_id":"e-1","ver":"no"}'
        topic = bench.hub.topics.build(Address(Channel.SPEC, bench.hub.node_id, "e-1"))
        await bench.hub.put(Channel.SPEC, "e-1", b"\x01" * 80)
        await bench.hub.put(Channel.SPEC, "e-1", b"short")
        await bench.hub.put(Channel.SPEC, "e-1", bench.hub.signer.seal(topic, body))
        await bench.hub.put(Channel.SPEC, "e-1", bench.hub.signer.seal(topic, b"[" * 60_000))
        await bench.hub.put(Channel.AWARD, "t-1", b"\x01" * 2000)
        await settled(bench)
        assert parts.counters["forged"] == 2
        assert parts.counters["malformed"] == 2
        assert parts.counters["oversized"] == 1


async def test_a_repeated_command_changes_nothing(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        drain = bench.hub.seal(m.Command(ep=1, seq=1), "drain")
        await bench.hub.put(Channel.COMMAND, "drain", drain)
        await bench.hub.say(m.Command(ep=1, seq=2), "undrain")
        await bench.hub.put(Channel.COMMAND, "drain", drain)
        await eventually(lambda: parts.counters["replay"] == 1)
        numbers = parts.store.numbers
        await eventually(lambda: (numbers.get("seq-drain"), numbers.get("draining")) == (2, 0))


async def test_an_order_without_a_hold_is_judged_and_refused_with_reasons(bench: AgentBench):
    async with bench.agent():
        await bench.hub.online()
        greedy = fake_job()
        task = msgspec.structs.replace(
            greedy.task, resources=msgspec.structs.replace(greedy.task.resources, cpu="9999")
        )
        await bench.hub.award("e-1", "", msgspec.structs.replace(greedy, tasks=[task]))
        refused = await bench.hub.status("e-1", E.REFUSED)
        assert refused.reason is not None
        assert refused.reason.code == "cpu"


async def test_a_late_will_of_this_node_is_put_right_at_once(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        topic = bench.hub.topics.build(Address(Channel.STATE, bench.hub.node_id))
        will = m.encode(m.NodeStatus(ep=0, state=NodeState.OFFLINE))
        before = len(bench.hub.all(m.NodeStatus))
        await parts.link.publish(Outgoing(topic, bench.identity.signer.seal(topic, will), retain=True))
        said = await bench.hub.next(m.NodeStatus, before + 1)
        assert (said.state, said.ep) == (NodeState.ONLINE, 1)
