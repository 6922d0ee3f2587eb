"""What /metrics tells Prometheus: names, units and types by convention, and that each number moves with its thing."""

import asyncio
import re
import time

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from tests.support.documents import code, table, text_of
from tests.support.hub_bench import until
from tests.support.hub_process import wasm_job
from tests.support.people import People
from wire import messages as m
from wire.link import Packet
from wire.messages import Health, NodeStatus
from wire.states import ExecutionState as E
from wire.states import NodeState
from wire.topics import Channel

UNITS = ("_seconds", "_bytes", "_rows", "_info", "_total")
COUNTS_OF_THINGS = {
    "tender_jobs", "tender_executions", "tender_nodes", "tender_node_memberships", "tender_auctions_open",
    "tender_jobs_waiting_for_room", "tender_webhooks", "tender_nodes_adrift",
    "tender_hub_deaf", "tender_nodes_doubled",
}  # fmt: skip
"""Gauges whose unit is the thing that they count."""
NAMED = {
    "jobs by state": "tender_jobs",
    "auction time": "tender_auction_seconds",
    "bids": "tender_bids",
    "declines by reason": "tender_declines",
    "outbox lag": "tender_outbox_oldest_seconds",
    "node states": "tender_nodes",
    "API latencies": "tender_api_seconds",
    "process": "process_resident_memory_bytes",
}


async def families(bench):
    answer = await bench.call("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


async def value(bench, name, **labels):
    """The number of one sample; 0 when there is none yet."""
    found = [
        sample.value
        for family in (await families(bench)).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found)


async def test_names_units_and_types_follow_the_convention(bench):
    await bench.node("north")
    await bench.finished(await bench.submit(wasm_job()))
    found = await families(bench)
    assert set(NAMED.values()) <= set(found)
    own = {name: family for name, family in found.items() if name.startswith("tender_")}
    assert len(own) > 15
    for name, family in own.items():
        assert re.fullmatch(r"tender(_[a-z]+)+", name), name
        assert family.documentation.endswith("."), name
        assert family.type in {"counter", "gauge", "histogram"}, name
        assert (
            family.type == "histogram" or name.endswith(UNITS) or family.type == "counter" or (name in COUNTS_OF_THINGS)
        ), name
        for sample in family.samples:
            assert family.type != "counter" or sample.name == f"{name}_total", sample.name
            assert family.type == "counter" or not sample.name.endswith("_total"), sample.name
            assert all(re.fullmatch(r"[a-z_]+", label) for label in sample.labels), sample
        if family.type == "histogram":
            assert name.endswith("_seconds"), name
    for name in ("process_cpu_seconds", "process_open_fds", "process_start_time_seconds"):
        assert name in found


async def test_the_page_names_every_metric_with_its_type(bench):
    told = {
        name: kinds[-1] if len(kinds) == 1 else kinds[place]
        for row in table(text_of("hub/README.md"), "Metrics")
        for kinds in [[kind.strip() for kind in row["type"].split(",")]]
        for place, name in enumerate(code(row["name"]))
    }
    lines = [line.split() for line in (await bench.call("GET", "/metrics")).text.splitlines()]
    there = {words[2]: words[3] for words in lines if words[:2] == ["#", "TYPE"] and words[2].startswith("tender_")}
    there["tender_build"] = "info" if there.pop("tender_build_info") == "gauge" else ""
    assert told == {name.removesuffix("_total"): kind for name, kind in there.items()}


async def test_every_sample_has_a_line_of_help_and_of_type_once(bench):
    lines = (await bench.call("GET", "/metrics")).text.splitlines()
    for what in ("HELP", "TYPE"):
        named = [line.split()[2] for line in lines if line.startswith(f"# {what} ")]
        assert len(named) == len(set(named))


async def test_jobs_are_counted_by_state_while_they_live_and_when_they_end(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    await bench.submit(wasm_job())
    lives = bench.hub.board.jobs.values
    await until(lambda: any(one.state is E.RUNNING for live in lives() for one in live.executions.values()))
    waits = await bench.submit(wasm_job(Constraints=[{"Key": "x", "Operator": "exists"}], Type="service"))
    assert await value(bench, "tender_jobs", state="running") == 1
    assert await value(bench, "tender_jobs", state="queued") + await value(bench, "tender_jobs", state="pending") == 1
    assert await value(bench, "tender_executions", state="running") == 1
    await node.report(node.orders[0].execution_id, E.COMPLETED)
    await bench.call("DELETE", f"jobs/{waits}")
    await bench.finished(waits)
    await until(lambda: not bench.hub.board.jobs)
    assert await value(bench, "tender_jobs_ended_total", state="completed") == 1
    assert await value(bench, "tender_jobs_ended_total", state="stopped") == 1
    assert await value(bench, "tender_jobs") == 0


async def test_auctions_bids_and_declines_are_counted_with_time_and_reason(bench):
    north, south = await bench.node("north"), await bench.node("south")
    south.on_invite = lambda invitation: south.decline(invitation, "battery-low")
    await bench.finished(await bench.submit(wasm_job()))
    assert await value(bench, "tender_auction_seconds_count", end="awarded") == 1
    assert 0 < await value(bench, "tender_auction_seconds_sum", end="awarded") < 60
    assert await value(bench, "tender_bids_total", answer="won") == 1
    assert await value(bench, "tender_bids_total", answer="declined") == 1
    assert await value(bench, "tender_declines_total", reason="battery-low") == 1
    north.on_invite = lambda invitation: north.decline(invitation, "What a node writes must not be a label!")
    await bench.finished(await bench.submit(wasm_job()))
    assert await value(bench, "tender_declines_total", reason="other") >= 1


async def test_the_reasons_that_are_counted_by_name_have_an_end(bench):
    north = await bench.node("north")
    numbers = iter(range(10**6))
    words = ["".join(chr(97 + int(d)) for d in str(n)) for n in range(100, 200)]
    north.on_invite = lambda invitation: north.decline(invitation, words[next(numbers) % 100])
    for _ in range(80):
        await bench.finished(await bench.submit(wasm_job()))
    found = (await families(bench))["tender_declines"]
    assert len({sample.labels["reason"] for sample in found.samples}) <= 61


async def test_what_is_not_believed_and_what_is_told_twice_is_counted(bench):
    node = await bench.node("north")
    await bench.finished(await bench.submit(wasm_job()))
    assert await value(bench, "tender_report_rows_total", end="new") == 3
    status = m.ExecutionStatus(id="e-unknown", ver=1, state=E.RUNNING)
    rows = [m.Row(number, msgspec.Raw(msgspec.json.encode(status))) for number in range(2, 5)]
    await node.say(Channel.STATUS, m.StatusBatch(ep=1, rows=rows))
    ends = {end: await value(bench, "tender_report_rows_total", end=end) for end in ("new", "repeated", "refused")}
    assert ends == {"new": 4, "repeated": 2, "refused": 1}
    for number in range(12):
        await bench.hub.inbox.receive([Packet(f"tender/1/n/{node.id}/st", b"%d" % number, retained=False)])
    assert await value(bench, "tender_documents_refused_total", reason="forged") == 12


async def test_a_loop_that_was_blocked_says_so(bench):
    lag = bench.hub.metrics.lag
    looking = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251  this is what a hub must not do
    await until(lambda: lag.worst > 0.1)
    assert await value(bench, "tender_loop_lag_seconds") > 0.1
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def test_nodes_are_counted_by_presence_and_what_they_have_not_told_by_age(bench):
    node = await bench.node("north")
    assert await value(bench, "tender_nodes", state="online") == 1
    assert await value(bench, "tender_node_memberships", membership="approved") == 1
    await node.say(Channel.HEALTH, Health(ep=1, outbox=7, outbox_age=42.5))
    assert await value(bench, "tender_outbox_rows") == 7
    assert await value(bench, "tender_outbox_oldest_seconds") == 42.5
    await node.say(Channel.STATE, NodeStatus(ep=1, state=NodeState.OFFLINE, next=30))
    assert await value(bench, "tender_nodes", state="online") == 0
    assert await value(bench, "tender_nodes", state="offline") == 1


async def test_requests_are_counted_by_route_and_status_with_their_time(bench):
    for name in ("a", "b"):
        await bench.call("GET", f"jobs/{name}")
    labels = {"method": "GET", "route": "/api/v1/orchestrator/jobs/{}", "status": "404"}
    assert await value(bench, "tender_api_seconds_count", **labels) == 2
    assert await value(bench, "tender_api_seconds_sum", **labels) > 0
    for name in range(50):
        await bench.call("GET", f"/nowhere/{name}")
    found = (await families(bench))["tender_api_seconds"]
    assert len({sample.labels["route"] for sample in found.samples}) < 10, "paths are never labels"
    people = People(bench)
    await people.add("root", ["*"], ["*"])
    assert (await people.ask("", "GET", "jobs")).status_code == 401
    text = (await people.ask("root", "GET", "/metrics")).text
    assert 'tender_api_refused_total{code="Unauthorized"} 1.0' in text


async def test_commits_and_the_process_are_counted(bench):
    before = [await value(bench, name) for name in ("tender_database_commits_total", "tender_database_writes_total")]
    for _ in range(2):  # the writer counts a commit after it told of it
        await bench.submit(wasm_job())
    after = [await value(bench, name) for name in ("tender_database_commits_total", "tender_database_writes_total")]
    assert all(later > earlier for earlier, later in zip(before, after, strict=True))
    assert await value(bench, "process_resident_memory_bytes") > 10**7
    assert await value(bench, "process_cpu_seconds_total") > 0
    assert await value(bench, "tender_build_info") == 1
