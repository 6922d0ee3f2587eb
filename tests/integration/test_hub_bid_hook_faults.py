"""Hooks on bids that fail, hang or are too many: what the owner said happens, and auctions end in time."""

import os
import time
from typing import Any

import pytest

from hub.auctions.bid_hooks import BidHooks
from hub.auctions.hook_rules import BidRules
from tests.support.bid_hooks import JSON, bids, counted, ended, hooked, patient, script_fixture, told
from tests.support.hookserver import dripping, hook_server, plain, raw
from tests.support.hub_bench import hub_bench, until
from tests.support.hub_process import wasm_job

FIXTURES = (script_fixture,)

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


def seconds(code: str) -> str:
    """Only a time-out is there to come soon; ten seconds is the most that all hooks together may take."""
    return "500ms" if code == "hub-hook-timeout" else "10s"


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
    await check_fault(tmp_path, script(PROGRAMS[code], timeout=seconds(code)), code)


@pytest.mark.parametrize("kind", URLS)
async def test_a_url_that_fails_does_what_the_owner_says(tmp_path, kind):
    async with hook_server() as server:
        server.script, code = URLS[kind]
        hook = {"name": "policy", "http": f"http://127.0.0.1:{server.port}/", "timeout": seconds(code)}
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
        assert time.monotonic() - began < 25  # the window is longer, and so is the hook
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
        job_id = await bench.submit(wasm_job(Bidding={"Window": "5s"}))
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
