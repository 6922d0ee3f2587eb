"""The hub when something goes wrong at a bad moment: no tender stays open, no job waits for ever, one result counts."""

import asyncio

import msgspec
import pytest

from tests.support.hub_bench import until
from tests.support.hub_process import PATIENT, wasm_job
from wire import messages as m
from wire.failures import Reason
from wire.link import Packet
from wire.resources import Resources
from wire.states import Desired, TenderState
from wire.states import ExecutionState as E
from wire.topics import Address, Channel, Topics


async def tenders(bench, job_id):
    return (await bench.get(f"jobs/{job_id}/why"))["Tenders"]


async def break_table(bench, table: str) -> None:
    """Every insert into a table fails from now on, as on a full disk."""
    sql = f"CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    await bench.hub.database.write(lambda c: c.execute(sql))


async def mend(bench) -> None:
    await bench.hub.database.write(lambda c: c.execute("DROP TRIGGER broken"))


async def test_a_job_goes_all_the_way(bench):
    node = await bench.node("north")
    job = await bench.finished(await bench.submit(wasm_job()))
    assert job["State"]["StateType"] == "Completed"
    await until(lambda: any(ack.receipts for ack in node.acks))
    (known,) = bench.hub.registry.nodes.values()
    assert (known.used, known.offered) == (Resources(), Resources())


async def test_a_tender_whose_award_cannot_be_stored_is_ended_when_it_can(bench, caplog):
    await bench.node("north")
    await break_table(bench, "executions")
    job_id = await bench.submit(wasm_job())
    await until(lambda: "disk full" in caplog.text or bench.hub.board.auctions)
    await asyncio.sleep(0.05)
    assert [one["State"] for one in await tenders(bench, job_id)] == ["open"]
    await mend(bench)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    (known,) = bench.hub.registry.nodes.values()
    assert (known.used, known.offered) == (Resources(), Resources())


async def test_a_job_is_not_stored_without_its_first_tender(bench):
    await bench.node("north")
    await break_table(bench, "tenders")
    answer = await bench.call("PUT", "jobs", json={"Job": wasm_job()})
    assert answer.status_code == 500
    assert (await bench.get("jobs"))["Items"] == []
    (known,) = bench.hub.registry.nodes.values()
    assert (known.offered, bench.hub.board.auctions, bench.hub.board.jobs) == (Resources(), {}, {})
    await mend(bench)
    assert (await bench.finished(await bench.submit(wasm_job())))["State"]["StateType"] == "Completed"


async def test_the_last_result_and_the_end_of_its_job_are_one_commit(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job())
    await until(lambda: node.orders)
    sql = "CREATE TRIGGER broken BEFORE UPDATE OF state ON jobs BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    await until(lambda: bench.hub.board.jobs[job_id].job.state == "running")
    await bench.hub.database.write(lambda c: c.execute(sql))
    with pytest.raises(Exception, match="disk full"):
        await node.report(node.orders[0].execution_id, E.COMPLETED)
    (execution,) = await bench.executions(job_id)
    assert execution["Tender"]["Accepted"] is False
    assert not any(ack.receipts for ack in node.acks)
    await mend(bench)
    await node.rows()
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert [e["Tender"]["Accepted"] for e in await bench.executions(job_id)] == [True]


async def test_resources_set_aside_for_a_tender_that_cannot_be_stored_are_given_back(bench):
    job_id = await bench.submit(wasm_job(Tasks=[{**wasm_job()["Tasks"][0], "Timeouts": {"QueueTimeout": "1h"}}]))
    await break_table(bench, "tenders")
    await bench.node("north")
    (known,) = bench.hub.registry.nodes.values()
    for _ in range(100):
        await asyncio.sleep(0)
    await until(lambda: known.offered == Resources() and not bench.hub.board.auctions)
    await mend(bench)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"


async def test_a_job_that_is_stopped_during_its_auction_never_starts(bench):
    node = await bench.node("north")
    node.on_invite = lambda _: None
    job_id = await bench.submit(wasm_job())
    tender_id = await until(lambda: next(iter(bench.hub.board.auctions), None))
    late = m.Bid(ep=1, tender_id=tender_id, bid=True, score=9)
    await asyncio.gather(bench.call("DELETE", f"jobs/{job_id}"), node.say(Channel.BID, late, tender_id))
    job = await bench.finished(job_id)
    assert job["State"]["StateType"] == "Stopped"
    await until(lambda: not bench.hub.board.jobs)
    assert [e["Tender"]["Desired"] for e in await bench.executions(job_id)] in ([], ["stop"])


async def test_a_tender_of_a_job_that_ended_is_closed_with_its_answers_and_bidders_are_told(bench):
    north, south = await bench.node("north"), await bench.node("south")
    south.on_invite = lambda _: None
    job_id = await bench.submit(wasm_job(**PATIENT))
    await until(lambda: any(a.answers for a in bench.hub.board.auctions.values()))
    await bench.call("DELETE", f"jobs/{job_id}")
    await bench.finished(job_id)
    await until(lambda: north.awards)
    (tender,) = await tenders(bench, job_id)
    assert (tender["State"], tender["Message"]) == (TenderState.CLOSED, "the job ended")
    assert {bid["NodeName"]: bid["Outcome"] for bid in tender["Bids"]} == {"north": "lost", "south": "silent"}


async def test_a_job_that_changed_during_its_auction_runs_in_its_new_version_only(bench):
    node = await bench.node("north")
    node.on_invite = lambda _: None
    job_id = await bench.submit(wasm_job(Name="changing", **PATIENT))
    tender_id = await until(lambda: next(iter(bench.hub.board.auctions), None))
    node.on_invite = node.bid
    await bench.submit(wasm_job(Name="changing", Priority=5))
    await node.say(Channel.BID, m.Bid(ep=1, tender_id=tender_id, bid=True, score=9), tender_id)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert {order.job_version for order in node.orders} == {2}
    assert [one["State"] for one in await tenders(bench, job_id)] == ["closed", "awarded"]


@pytest.mark.parametrize("action", ["reject", "delete"])
async def test_work_of_a_node_that_is_removed_goes_to_another(bench, action):
    first = await bench.node("first")
    first.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job())
    await until(lambda: first.orders)
    second = await bench.node("second")
    answer = await bench.call("PUT", f"nodes/{first.id}", json={"Action": action, "Message": "stolen"})
    assert answer.status_code == 200
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert len(second.orders) == 1
    lost = next(e for e in await bench.executions(job_id) if e["NodeID"] == first.id)
    assert lost["Tender"]["State"] == "lost"
    assert f"node first was {action.removesuffix('e')}ed" in lost["ComputeState"]["Message"]


async def test_a_bid_of_a_node_that_was_rejected_meanwhile_does_not_win(bench):
    north, south = await bench.node("north"), await bench.node("south")
    north.on_invite = lambda i: north.bid(i, 100)
    south.on_invite = lambda _: None
    job_id = await bench.submit(wasm_job(**PATIENT))
    tender_id = await until(lambda: next((t for t, a in bench.hub.board.auctions.items() if a.answers), None))
    await bench.call("PUT", f"nodes/{north.id}", json={"Action": "reject"})
    await south.say(Channel.BID, m.Bid(ep=1, tender_id=tender_id, bid=True, score=0), tender_id)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert (len(north.orders), len(south.orders)) == (0, 1)


async def test_a_job_whose_node_is_gone_can_be_stopped(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED,)
    job_id = await bench.submit(wasm_job())
    await until(lambda: node.orders)
    await bench.hub.database.write(lambda c: c.execute("DELETE FROM nodes"))
    await bench.call("DELETE", f"jobs/{job_id}")
    assert (await bench.finished(job_id))["State"]["StateType"] == "Stopped"


async def test_a_winner_that_never_accepts_loses_the_slot(bench):
    first, second = await bench.node("first"), await bench.node("second")
    first.script = ()
    second.on_invite = lambda invitation: second.bid(invitation, score=1)
    bench.hub.orders.accept_within = 0.05
    job_id = await bench.submit(wasm_job())
    await until(lambda: first.orders)
    first.on_invite = first.decline
    bench.hub.orders.accept_within = 60
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    lost, done = await bench.executions(job_id)
    assert (lost["Tender"]["State"], done["NodeID"]) == ("lost", second.id)
    assert "did not accept within" in lost["ComputeState"]["Message"]


async def test_a_winner_is_not_given_up_while_its_word_may_be_lost_with_the_link(bench):
    node = await bench.node("north")
    node.script = ()
    bench.hub.orders.accept_within = 0.1
    job_id = await bench.submit(wasm_job())
    await until(lambda: node.orders)
    await bench.hub.inbox.up(session_present=False)
    await asyncio.sleep(0.3)
    await node.report(node.orders[0].execution_id, E.COMPLETED)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert len(await bench.executions(job_id)) == 1


async def test_an_award_of_an_earlier_run_of_the_hub_has_its_timer_again(bench):
    node = await bench.node("north")
    node.script = ()
    job_id = await bench.submit(wasm_job())
    await until(lambda: node.orders)
    await bench.restart(announce=False)
    bench.hub.orders.settle = 0.05
    await bench.hub.inbox.up(session_present=False)
    second = await bench.node("second")
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert [e["Tender"]["State"] for e in await bench.executions(job_id)] == ["lost", "completed"]
    assert second.orders


async def test_what_was_given_up_is_not_ordered_again(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job())
    await until(lambda: node.orders)
    x = node.orders[0].execution_id
    asks = m.Response(ep=1, args={"execution_id": x})
    await node.say(Channel.RESPONSE, asks, "spec")
    await until(lambda: len(node.repeats) == 1)
    await bench.call("DELETE", f"jobs/{job_id}")
    await bench.finished(job_id)
    await node.say(Channel.RESPONSE, asks, "spec")
    await until(lambda: any(item.verb is Desired.STOP for want in node.wants for item in want.items))
    assert len(node.repeats) == 1


async def test_nobody_gets_the_order_of_another_node(bench):
    north, south = await bench.node("north"), await bench.node("south")
    for node in (north, south):
        node.script = (E.ACCEPTED,)
    await bench.submit(wasm_job())
    await until(lambda: north.orders or south.orders)
    winner, other = (north, south) if north.orders else (south, north)
    await other.say(Channel.RESPONSE, m.Response(ep=1, args={"execution_id": winner.orders[0].execution_id}), "spec")
    await other.rows(m.ExecutionStatus(id=winner.orders[0].execution_id, ver=99, state=E.COMPLETED))
    await until(lambda: any(ack.refusals for ack in other.acks))
    assert not other.orders
    assert not any(ack.receipts for ack in other.acks)


async def test_a_later_report_never_replaces_an_accepted_result(bench):
    node = await bench.node("north")
    good = node.keeps({"stdout": b"good"})
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    x = node.orders[0].execution_id
    other = msgspec.structs.replace(good, manifest="f" * 64)
    for state in (E.COMPLETED, E.FAILED, E.RUNNING):
        await node.report(x, state, result=other)
    (execution,) = await bench.executions(job_id)
    assert execution["Tender"] | {"Manifest": good.manifest, "State": "completed", "Late": False} == execution["Tender"]
    history = (await bench.get(f"jobs/{job_id}/history"))["Items"]
    assert sum("Late report" in one["Event"]["Message"] for one in history) == 3


async def test_a_slot_has_one_accepted_result_whoever_else_comes_late(bench):
    first = await bench.node("first")
    first.script = (E.ACCEPTED,)
    job_id = await bench.submit(wasm_job(Retry={"Delay": 0}))
    await until(lambda: first.orders)
    second = await bench.node("second")
    x = first.orders[0].execution_id
    await first.report(x, E.FAILED, reason=Reason("vanished", "it vanished"))
    await bench.finished(job_id)
    await first.report(x, E.COMPLETED)
    found = {e["NodeID"]: e["Tender"] for e in await bench.executions(job_id)}
    assert (found[second.id]["Accepted"], found[second.id]["Late"]) == (True, False)
    assert (found[first.id]["Accepted"], found[first.id]["Late"], found[first.id]["State"]) == (False, True, "failed")


async def test_a_node_cannot_outbid_all_others_by_a_score_beyond_the_scale(bench):
    greedy, honest = await bench.node("greedy"), await bench.node("honest")
    greedy.on_invite = lambda i: greedy.bid(i, 1e9)
    greedy.script = ()
    honest.on_invite = lambda i: honest.bid(i, 90)
    job_id = await bench.submit(wasm_job(Constraints=[{"Key": "favour_zone", "Operator": "exists"}], **PATIENT))
    (tender,) = await until(lambda: bench.hub.board.jobs[job_id].tenders)
    await until(lambda: greedy.orders or honest.orders)
    (tender,) = await tenders(bench, job_id)
    assert {bid["NodeName"]: bid["Score"] for bid in tender["Bids"]} == {"greedy": 100, "honest": 90}


async def test_a_node_cannot_fill_the_history_without_end(bench):
    node = await bench.node("north")
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    x = node.orders[0].execution_id
    for batch in range(11):
        told = [m.NodeEvent(x, "Log", f"line {batch * 100 + n}") for n in range(100)]
        rows = [m.Row(batch * 100 + n + 1, msgspec.Raw(msgspec.json.encode(one))) for n, one in enumerate(told)]
        await node.say(Channel.EVENT, m.EventBatch(ep=1, rows=rows))
    await until(lambda: node.acks[-1].lanes == {"event": 1100})
    found = (await bench.get(f"jobs/{job_id}/history", execution_id=x, limit="1000"))["Items"]
    assert len(found) == 1000


async def test_a_part_of_a_blob_that_is_not_there_is_refused_with_a_reason(bench):
    node = await bench.node("north")
    ref = bench.hub.blobs.put(b"a module")
    await node.say(Channel.RESPONSE, m.Response(ep=1, args={"sha256": ref.sha256}, offset=10**6), "blob")
    reply = await until(lambda: next((one for _, one in bench.link.said if isinstance(one, m.Command)), None))
    assert reply.error.message == "a blob of 8 bytes has nothing at 1000000"


@pytest.mark.parametrize("number", [-1, 2**53, 2**70])
@pytest.mark.parametrize(
    ("channel", "item", "body"),
    [
        (Channel.RESPONSE, "blob", {"ep": 1, "offset": "?"}),
        (Channel.STATE, "", {"ep": "?", "state": "online"}),
        (Channel.STATUS, "", {"ep": 1, "rows": [{"o": "?", "body": None}]}),
    ],
)
async def test_a_number_that_nobody_can_hold_is_refused_and_counted(bench, number, channel, item, body):
    node = await bench.node("north")
    topic = Topics().build(Address(channel, node.id, item))
    text = msgspec.json.encode(body).replace(b'"?"', str(number).encode())
    await bench.hub.inbox.receive([Packet(topic, node.signer.seal(topic, text), retained=False)])
    assert bench.hub.inbox.refused["malformed"] == 1
