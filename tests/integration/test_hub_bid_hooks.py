"""The hub owner's hooks on bids: real programs and a real server, asked by the hub about scripted nodes."""

import asyncio
import json
import os
import time
from typing import Any

import pytest

from hub.bid_hooks import BidHooks
from hub.hook_rules import BidRules
from hub.policy import read
from tests.support.hookserver import dripping, hook_server, plain, raw
from tests.support.hub_bench import HubBench, hub_bench, until
from tests.support.hub_process import HubProcess, wasm_job
from tests.support.node_double import NodeDouble
from wire.resources import Resources

JSON = "Content-Type: application/json"


@pytest.fixture
def script(tmp_path):
    """Writes a program and gives the settings of a hook that runs it."""

    def write(text: str, *, name: str = "rack", **settings: Any) -> dict[str, Any]:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return {"name": name, "exec": [str(path)], **settings}

    return write


def hooked(*hooks: dict[str, Any], **more: Any):
    return read({"bidding": {"hooks": list(hooks), **more.pop("bidding", {})}, **more})


def patient(**fields: Any) -> dict[str, Any]:
    """A job that waits for better times instead of failing."""
    task = {**wasm_job()["Tasks"][0], "Timeouts": {"QueueTimeout": 600}}
    return wasm_job(Tasks=[task], **fields)


async def tenders(bench: HubBench, job_id: str) -> list[dict[str, Any]]:
    return (await bench.get(f"jobs/{job_id}/why"))["Tenders"]


async def bids(bench: HubBench, job_id: str) -> dict[str, dict[str, Any]]:
    return {bid["NodeName"]: bid for bid in (await tenders(bench, job_id))[-1]["Bids"]}


async def ended(bench: HubBench, job_id: str) -> list[dict[str, Any]]:
    """The job's auctions, as soon as one of them is over."""
    async with asyncio.timeout(20):
        while True:
            found = [one for one in await tenders(bench, job_id) if one["State"] != "open"]
            if found:
                return found
            await asyncio.sleep(0.01)


async def told(bench: HubBench, job_id: str) -> dict[str, str]:
    """All details of the job's history."""
    events = [item["Event"] for item in (await bench.get(f"jobs/{job_id}/history"))["Items"]]
    return {key: value for event in events for key, value in event.get("Details", {}).items()}


def counted(text: str, name: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return {line.rpartition(" ")[0].removeprefix(name): float(line.rpartition(" ")[2]) for line in lines}


# --- what a hook decides --------------------------------------------------------------------------


async def test_a_program_excludes_a_node_and_scores_another(tmp_path, script):
    hook = script(
        """
case "$(cat)" in
  *'"node_name":"north"'*) echo "north is too hot" >&2; exit 1;;
  *'"node_name":"south"'*) echo '{"bid": true, "score": 70, "reason": "cool"}';;
esac
"""
    )
    async with hub_bench(tmp_path / "hub", policy=hooked(hook, weights={"hook": 0.5})) as bench:
        north, south, east = [await bench.node(name) for name in ("north", "south", "east")]
        north.on_invite = lambda i: north.bid(i, score=100)
        south.on_invite = lambda i: south.bid(i, score=20)
        east.on_invite = lambda i: east.bid(i, score=40)
        job_id = await bench.submit(wasm_job())
        assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
        found = await bids(bench, job_id)
        assert {name: bid["Outcome"] for name, bid in found.items()} == {
            "north": "excluded",
            "south": "won",
            "east": "lost",
        }
        assert found["north"]["Reasons"] == [
            {"Code": "hub-hook-said-no", "Message": "hub's hook rack: north is too hot", "Hint": ""}
        ]
        assert found["south"]["Ranks"]["hook"] == "35"
        assert found["south"]["Steps"]["hub_hooks"] > 0
        assert [award.outcome for award in north.awards] == ["lost"], "its hold is released"
        assert (await told(bench, job_id))["Excluded north"] == "hub-hook-said-no: hub's hook rack: north is too hot"
        why = await bench.get(f"jobs/{job_id}/why")
        assert [(one["Code"], one["Nodes"]) for one in why["Reasons"]] == [("hub-hook-said-no", ["north"])]
        text = (await bench.call("GET", "/metrics")).text
        answers = counted(text, "tender_bid_hook_seconds_count")
        assert answers == {'{answer="no",hook="rack"}': 1.0, '{answer="yes",hook="rack"}': 2.0}
        assert counted(text, "tender_bids_total")['{answer="excluded"}'] == 1.0


async def test_a_program_gets_the_bid_the_job_and_the_node(tmp_path, script):
    seen = tmp_path / "seen"
    hook = script(f"cat > {seen}; env > {seen}.env")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        north = await bench.node("north", labels={"region": "eu"})
        north.on_invite = lambda i: north.bid(i, score=33)
        job_id = await bench.submit(wasm_job(Name="weather", Count=1))
        await bench.finished(job_id)
        asked = json.loads(seen.read_text())
        assert (asked["node_id"], asked["node_name"], asked["job_id"]) == (north.id, "north", job_id)
        assert asked["bid"] == {"score": 33.0, "cost": 0.0, "ttl": 30.0, "locality": 0.0}
        assert (asked["Job"]["Name"], asked["Job"]["ID"]) == ("weather", job_id)
        assert asked["spec"]["Engine"]["Type"] == "wasm"
        assert asked["facts"]["labels"] == {"region": "eu"}
        assert asked["resources"]["free"] == Resources(cpu=64, memory=64 * 10**9, disk=10**12).plain()
        assert asked["rank"] == sum(asked["ranks"].values())
        env = dict(line.split("=", 1) for line in (tmp_path / "seen.env").read_text().splitlines())
        assert {key: env[key] for key in ("TENDER_NODE_ID", "TENDER_JOB_ID")} == {
            "TENDER_NODE_ID": north.id,
            "TENDER_JOB_ID": job_id,
        }
        assert set(env) - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "TENDER_NODE_ID", "TENDER_JOB_ID"}


async def test_a_url_excludes_and_scores_as_a_program_does(tmp_path):
    async with hook_server() as server:
        hook = {"name": "policy", "http": f"http://127.0.0.1:{server.port}/decide"}
        async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
            await bench.node("north")
            server.script = plain("200 OK", b'{"score": 12}', JSON)
            first = await bench.submit(wasm_job())
            await bench.finished(first)
            assert (await bids(bench, first))["north"]["Ranks"]["hook"] == "12"
            assert json.loads(server.requests[0][1])["job_id"] == first
            server.script = plain("200 OK", b'{"score": -1, "reason": "not this job"}', JSON)
            second = await bench.submit(wasm_job())
            job = await bench.finished(second)
            assert job["State"]["StateType"] == "Failed"
            assert "1 × hub-hook-said-no: hub's hook policy: not this job" in job["State"]["Message"]


@pytest.mark.parametrize("kind", ["ops", "daemon"])
async def test_a_job_that_goes_to_every_node_keeps_off_those_that_a_hook_excludes(tmp_path, script, kind):
    hook = script("""case "$(cat)" in *'"node_name":"north"'*) exit 3;; esac""")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        north, south = await bench.node("north"), await bench.node("south")
        job_id = await bench.submit(wasm_job(Type=kind))
        await until(lambda: south.orders)
        async with asyncio.timeout(10):
            while len([one for one in await tenders(bench, job_id) if one["State"] != "open"]) < 2:
                await asyncio.sleep(0.01)
        assert north.orders == []


async def test_an_excluded_node_is_not_asked_again_while_others_are(tmp_path, script):
    gate = tmp_path / "gate"
    hook = script(f"test -e {gate}")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        north = await bench.node("north")
        asked: list[str] = []
        north.on_invite = lambda i: (asked.append(i.tender_id), north.bid(i))[1]
        job_id = await bench.submit(patient())
        await ended(bench, job_id)
        gate.touch()
        south = await bench.node("south")
        assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
        assert (len(asked), len(south.orders)) == (1, 1)


async def test_a_hub_process_asks_the_hooks_of_its_policy_file(tmp_path, script):
    async with hook_server() as server:
        server.script = plain("200 OK", b'{"score": 30}', JSON)
        program = script("""case "$(cat)" in *'"node_name":"north"'*) echo hot >&2; exit 1;; esac""")["exec"][0]
        policy = tmp_path / "policy.toml"
        policy.write_text(
            f"[[bidding.hooks]]\nname = 'rack'\nexec = ['{program}']\ntimeout = '5s'\n"
            f"[[bidding.hooks]]\nname = 'url'\nhttp = 'http://127.0.0.1:{server.port}/'\ntimeout = '5s'\n"
        )
        async with HubProcess(tmp_path / "hub", "--policy", str(policy)) as hub:
            nodes = [NodeDouble(name) for name in ("north", "south")]
            for node in nodes:
                await node.join(await hub.token(), tmp_path / node.name)
            async with asyncio.timeout(20):
                while len((await hub.get("nodes", **{"filter-status": "connected"}))["Nodes"]) < 2:
                    await asyncio.sleep(0.02)
            job_id = await hub.submit(wasm_job())
            assert (await hub.finished(job_id))["State"]["StateType"] == "Completed"
            (tender,) = (await hub.get(f"jobs/{job_id}/why"))["Tenders"]
            found = {bid["NodeName"]: (bid["Outcome"], bid["Ranks"].get("hook")) for bid in tender["Bids"]}
            assert found == {"north": ("excluded", None), "south": ("won", "30")}
            for node in nodes:
                await node.leave()


# --- faults ---------------------------------------------------------------------------------------

PROGRAMS = {
    "hub-hook-timeout": "sleep 60",
    "hub-hook-flood": "head -c 300000000 /dev/zero",
    "hub-hook-bad-json": "echo yes please",
    "hub-hook-bad-answer": """echo '{"bid": true, "score": 101}'""",
}
URLS = {
    "silence": (dripping(b"", b"", 0.05), "hub-hook-timeout"),
    "bytes that drip": (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" ", 0.05), "hub-hook-timeout"),
    "a flood": (plain("200 OK", b" " * 70_000, JSON), "hub-hook-flood"),
    "a redirect": (plain("302 Found", b"", "Location: http://169.254.169.254/"), "hub-hook-redirect"),
    "junk": (plain("200 OK", b"<html>", "Content-Type: text/html"), "hub-hook-bad-json"),
    "no HTTP": (raw(b"SSH-2.0\r\n"), "hub-hook-unreachable"),
}


async def check_fault(folder, hook: dict[str, Any], code: str) -> None:
    """With `decline` the bid is excluded and the job waits; with `accept` it runs, and the fault is told."""
    async with hub_bench(folder / "decline", policy=hooked(hook)) as bench:
        node = await bench.node("north")
        job_id = await bench.submit(patient())
        (tender, *_) = await ended(bench, job_id)
        (bid,) = tender["Bids"]
        assert (bid["Outcome"], [reason["Code"] for reason in bid["Reasons"]]) == ("excluded", [code])
        assert node.orders == []
    async with hub_bench(folder / "accept", policy=hooked({**hook, "on_error": "accept"})) as bench:
        await bench.node("north")
        job_id = await bench.submit(patient())
        assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
        assert f"Let pass {code}" in await told(bench, job_id)
        text = (await bench.call("GET", "/metrics")).text
        answers = counted(text, "tender_bid_hook_seconds_count")
        assert answers == {f'{{answer="{code.removeprefix("hub-")}",hook="{hook["name"]}"}}': 1.0}


@pytest.mark.parametrize("code", PROGRAMS)
async def test_a_program_that_fails_does_what_the_owner_says(tmp_path, script, code):
    await check_fault(tmp_path, script(PROGRAMS[code], timeout="500ms"), code)


@pytest.mark.parametrize("kind", URLS)
async def test_a_url_that_fails_does_what_the_owner_says(tmp_path, kind):
    async with hook_server() as server:
        server.script, code = URLS[kind]
        hook = {"name": "policy", "http": f"http://127.0.0.1:{server.port}/", "timeout": "500ms"}
        await check_fault(tmp_path, hook, code)


async def test_an_address_where_credentials_are_had_is_never_asked(tmp_path):
    hook = {"name": "policy", "http": "http://169.254.169.254/latest"}
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        await bench.node("north")
        job_id = await bench.submit(patient())
        (tender, *_) = await ended(bench, job_id)
        assert tender["Bids"][0]["Reasons"][0]["Code"] == "hub-hook-blocked-address"


async def test_a_program_that_others_may_change_is_not_run(tmp_path, script):
    hook = script("touch $0.ran")
    os.chmod(hook["exec"][0], 0o777)  # noqa: PTH101, S103  others may write it: that is the point
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        await bench.node("north")
        job_id = await bench.submit(patient())
        (tender, *_) = await ended(bench, job_id)
        assert tender["Bids"][0]["Reasons"][0]["Code"] == "hub-hook-unsafe-file"
        assert not (tmp_path / "rack.ran").exists()


# --- time -----------------------------------------------------------------------------------------


async def test_a_hanging_hook_holds_an_auction_up_no_longer_than_its_time(tmp_path, script):
    hook = script("sleep 60", timeout="500ms", on_error="accept")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        for name in ("north", "south", "east"):
            await bench.node(name)
        began = time.monotonic()
        job_id = await bench.submit(patient())
        assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
        assert time.monotonic() - began < 5
        assert {bid["Outcome"] for bid in (await bids(bench, job_id)).values()} == {"won", "lost"}


async def test_more_auctions_than_hooks_may_run_at_once_end_all_the_same(tmp_path, script):
    hook = script("sleep 60", timeout="300ms", on_error="accept")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook, bidding={"at_once": 1})) as bench:
        await bench.node("north")
        jobs = [await bench.submit(patient(Name=f"j-{n}")) for n in range(6)]
        for job_id in jobs:
            assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
        codes = {reason["Code"] for job_id in jobs for reason in (await bids(bench, job_id))["north"]["Reasons"]}
        assert codes == {"hub-hook-timeout", "hub-hook-busy"}


async def test_hooks_are_asked_while_other_nodes_still_answer_and_a_silent_one_costs_no_bid(tmp_path, script):
    hook = script("exit 0")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        north, south = await bench.node("north"), await bench.node("south")
        south.on_invite = lambda _: None
        job_id = await bench.submit(wasm_job(Bidding={"Window": "1s"}))
        auction = await until(lambda: next(iter(bench.hub.board.auctions.values()), None))
        await until(lambda: auction.judgements)
        assert not auction.over
        await bench.finished(job_id)
        assert len(north.orders) == 1
        assert {name: bid["Outcome"] for name, bid in (await bids(bench, job_id)).items()} == {
            "north": "won",
            "south": "silent",
        }


async def test_a_job_that_is_stopped_while_a_hook_thinks_leaves_no_program_behind(tmp_path, script):
    pid = tmp_path / "pid"
    hook = script(f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60", timeout="10s")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        node = await bench.node("north")
        job_id = await bench.submit(patient())
        await until(pid.exists)
        await bench.call("DELETE", f"jobs/{job_id}")
        await bench.finished(job_id)
        await until(lambda: not os.path.exists(f"/proc/{int(pid.read_text())}"))  # noqa: PTH110
        assert node.orders == []


async def test_an_auction_that_could_not_be_ended_does_not_wait_for_what_it_no_longer_asks(tmp_path, script):
    async with hub_bench(tmp_path / "hub", policy=hooked(script("sleep 60", timeout="9s"))) as bench:
        await bench.node("north")
        await bench.submit(patient())
        auction = await until(lambda: next(iter(bench.hub.board.auctions.values()), None))
        await until(lambda: auction.judging)
        BidHooks(BidRules()).forget(auction)
        auction.over = True
        assert auction.ripe()


async def test_without_hooks_nothing_is_asked_and_an_auction_ends_with_its_last_answer(tmp_path):
    async with hub_bench(tmp_path / "hub") as bench:
        node = await bench.node("north")
        job_id = await bench.submit(wasm_job())
        await bench.finished(job_id)
        (bid,) = (await bids(bench, job_id)).values()
        assert (bid["Ranks"].get("hook"), bid["Steps"]) == (None, {})
        assert len(node.orders) == 1
        assert counted((await bench.call("GET", "/metrics")).text, "tender_bid_hook_seconds_count") == {}
