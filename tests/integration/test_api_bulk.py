"""Many jobs in one request, each with its own outcome; and why a job with many attempts is where it is."""

import json

import pytest

from hub.policy import read
from tests.support.hub_bench import hub_bench
from tests.support.hub_process import wasm_job
from wire.states import ExecutionState as E


async def many(bench, jobs, status=200):
    answer = await bench.call("PUT", "submissions", json={"Jobs": jobs})
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_each_job_of_many_has_its_own_outcome_in_order(bench):
    await bench.node("north")
    jobs = [
        {"Job": wasm_job(Name="one")},
        {"Job": wasm_job(Type="nonsense")},
        {"Job": wasm_job(), "IdempotencyToken": "t"},
        {"Job": wasm_job(), "IdempotencyToken": "t"},
        {},
        "text",
    ]
    told = await many(bench, jobs)
    assert (told["Accepted"], told["Refused"]) == (3, 3)
    assert ["JobID" in item for item in told["Items"]] == [True, False, True, True, False, False]
    assert told["Items"][2]["JobID"] == told["Items"][3]["JobID"]
    assert told["Items"][1]["Error"]["Status"] == 400
    assert "nonsense" in told["Items"][1]["Error"]["Message"]
    for item in told["Items"]:
        if "JobID" in item:
            assert (await bench.finished(item["JobID"]))["State"]["StateType"] == "Completed"


async def test_what_was_accepted_of_many_is_stored_when_it_is_told(bench):
    told = await many(bench, [{"Job": wasm_job(Name=f"job-{number}")} for number in range(200)])
    assert told["Accepted"] == 200
    await bench.restart()
    assert (await bench.get("jobs/job-199"))["Job"]["ID"] == told["Items"][199]["JobID"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{}", 400), (b"[]", 400), (b'{"Jobs": {}}', 400), (b'{"Jobs": [', 400),
        (b'{"Jobs": [], "More": 1}', 400), (b'{"Jobs": [' + b",".join([b"{}"] * 1001) + b"]}", 413),
        (b'{"Jobs": [' + b"[" * 100_000, 400),
    ],
)  # fmt: skip
async def test_a_request_that_holds_no_jobs_is_refused_as_a_whole(bench, body, status):
    answer = await bench.call("PUT", "submissions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["Hint"]
    assert json.loads((await bench.call("GET", "jobs")).text)["Items"] == []


async def test_why_comes_in_pages_with_the_reasons_counted(bench):
    north = await bench.node("north")
    north.on_invite = lambda invitation: north.decline(invitation, "hook-said-no", "not at night")
    job_id = await bench.submit(wasm_job(Count=5))
    await bench.finished(job_id)
    told = await bench.get(f"jobs/{job_id}/why")
    total = told["Total"]
    assert (len(told["Tenders"]), told["NextToken"]) == (total, "")
    (reason,) = [entry for entry in told["Reasons"] if entry["Code"] == "hook-said-no"]
    assert (reason["Nodes"], reason["Message"]) == (["north"], "not at night")
    seen, token = [], ""
    while True:
        page = await bench.get(f"jobs/{job_id}/why", limit=2, **({"next_token": token} if token else {}))
        seen = [tender["ID"] for tender in page["Tenders"]] + seen
        token = page["NextToken"]
        if not token:
            break
    assert seen == [tender["ID"] for tender in told["Tenders"]]
    only = await bench.get(f"jobs/{job_id}/why", slot=0)
    assert {tender["Slot"] for tender in only["Tenders"]} == {0}
    assert (await bench.call("GET", f"jobs/{job_id}/why?limit=2000")).status_code == 400


async def test_quotas_and_job_defaults_hold_for_each_job_of_many(tmp_path):
    policy = read({"namespaces": {"lab": {"jobs": 2}}, "job_defaults": {"batch": {"priority": 7}}})
    async with hub_bench(tmp_path / "limited", policy=policy) as bench:
        (await bench.node("north")).script = (E.ACCEPTED, E.RUNNING)
        jobs = [{"Job": wasm_job(Name=f"j{number}", Namespace="lab")} for number in range(5)]
        told = await many(bench, [*jobs, {"Job": wasm_job(Name="elsewhere")}])
        assert (told["Accepted"], told["Refused"]) == (3, 3)
        codes = [item["Error"]["Code"] for item in told["Items"] if "Error" in item]
        assert codes == ["QuotaExceeded"] * 3
        listed = (await bench.get("jobs", namespace="*", limit=10))["Items"]
        assert {job["Priority"] for job in listed} == {7}
        assert len(listed) == 3
