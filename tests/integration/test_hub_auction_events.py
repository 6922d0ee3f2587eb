"""What the history tells of auctions: each bid and decline with code and hint, unless there was no choice."""

import asyncio

from tests.support.hub_process import wasm_job


async def test_the_history_tells_who_declined_and_why_with_code_and_hint(bench):
    north, east = await bench.node("north"), await bench.node("east")
    east.on_invite = lambda invitation: east.decline(invitation, "hook-said-no", "12 % left")
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    (event,) = await told(bench, job_id, "Tender")
    assert event["Message"] == "Auction of slot 0: 1 won, 1 hook-said-no"
    assert "ErrorCode" not in event["Details"]
    answers = await told(bench, job_id, "Bid")
    assert {one["Details"]["NodeID"]: one["Message"].split(":")[0] for one in answers} == {
        north.id: "north bid for slot 0",
        east.id: "east declined slot 0",
    }
    (declined,) = [one for one in answers if one["Details"]["Outcome"] == "declined"]
    assert declined["Message"].endswith("12 % left")
    assert (declined["Details"]["ErrorCode"], declined["Details"]["Retryable"]) == ("hook-said-no", "true")
    north.on_invite = lambda invitation: north.decline(invitation, "memory", "needs 4 GB")
    job_id = await bench.submit(wasm_job())
    found: list[dict[str, object]] = []
    async with asyncio.timeout(60):
        while not found:
            found = await told(bench, job_id, "Tender")
    event = found[0]
    assert "won" not in event["Message"]
    assert (event["Details"]["ErrorCode"], event["Details"]["Retryable"]) in {
        ("memory", "true"),
        ("hook-said-no", "true"),
    }


async def test_an_auction_that_everybody_bid_in_tells_each_bid_and_one_that_had_no_choice_nothing(bench):
    north = await bench.node("north")
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    assert await told(bench, job_id, "Tender") == await told(bench, job_id, "Bid") == []
    await bench.node("east")
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    assert await told(bench, job_id, "Tender") == []
    assert {one["Details"]["Outcome"] for one in await told(bench, job_id, "Bid")} == {"won", "lost"}
    assert north.id in {one["Details"]["NodeID"] for one in await told(bench, job_id, "Bid")}


async def told(bench, job_id, topic):
    """The events of a job on one topic."""
    items = (await bench.get(f"jobs/{job_id}/history"))["Items"]
    return [item["Event"] for item in items if item["Event"]["Topic"] == topic]
