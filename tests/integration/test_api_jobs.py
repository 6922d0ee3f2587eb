"""The API of jobs over the real application: what each endpoint answers, and what it says to bad input."""

import asyncio
import base64

import msgspec
import pytest

from tests.support.hub_bench import until
from tests.support.hub_process import PATIENT, wasm_job
from wire.states import ExecutionState as E

MODULE = b"\0asm\1\0\0\0" + bytes(4000)
DATA_URL = "data:application/wasm;base64," + base64.b64encode(MODULE).decode()


def with_url(url, key="URL"):
    job = wasm_job()
    job["Tasks"][0]["InputSources"][0]["Source"]["Params"] = {key: url}
    return job


def said(answer, status):
    """The error body, after its shape was checked."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert {"Status", "Message", "RequestID", "Code", "Component"} <= body.keys()
    assert body["Status"] == status
    assert body["Message"]
    assert answer.headers["content-type"] == "application/json"
    return body


# --- submitting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_job_is_stored_when_the_answer_comes(bench, method):
    answer = await bench.call(method, "jobs", json={"Job": wasm_job(Labels={"a": "b"})})
    assert answer.status_code == 200
    body = answer.json()
    assert body["JobID"].startswith("j-")
    assert body["EvaluationID"]
    job = (await bench.get(f"jobs/{body['JobID']}"))["Job"]
    assert (job["Name"], job["Namespace"], job["Version"], job["Labels"]) == (body["JobID"], "default", 1, {"a": "b"})
    assert job["Meta"]["bacalhau.org/orchestrator.id"] == "hub"


async def test_what_the_server_owns_is_dropped_with_a_warning(bench):
    answer = await bench.call("PUT", "jobs", json={"Job": wasm_job(ID="j-mine", Version=7)})
    assert any("job ID is ignored" in warning for warning in answer.json()["Warnings"])


@pytest.mark.parametrize(
    ("body", "field", "word"),
    [
        (b"", "", "empty/nil job"),
        (b"{", "", "JSON"),
        (b"[]", "", "object"),
        (b'{"Job": 7}', "", "object"),
        (b"\xff\xfe", "", ""),
        (b'{"Job": ' + b"[" * 5000, "", ""),
        (msgspec.json.encode({"Job": wasm_job(Type="cronjob")}), "Type", "invalid job type"),
        (msgspec.json.encode({"Job": wasm_job(Cuont=3)}), "Cuont", "Count"),
        (msgspec.json.encode({"Job": wasm_job(Tasks=[])}), "Tasks", "missing job tasks"),
    ],
)
async def test_a_malformed_job_is_refused_with_its_field_and_nothing_is_stored(bench, body, field, word):
    answer = said(await bench.call("PUT", "jobs", content=body), 400)
    assert field in str(answer.get("Details", {}))
    assert word in str(answer)
    assert (await bench.get("jobs"))["Items"] == []


async def test_a_body_over_the_cap_is_refused(bench):
    assert said(await bench.call("PUT", "jobs", content=b" " * (10 * 1024 * 1024 + 1)), 413)["Code"] == "TooLarge"

    async def chunks():
        for _ in range(11):
            yield b" " * 1024 * 1024

    assert said(await bench.call("PUT", "jobs", content=chunks()), 413)["Code"] == "TooLarge"


async def test_a_body_that_does_not_come_is_not_waited_for(bench):
    never = asyncio.Event()

    async def slow():
        yield b'{"Job":'
        await never.wait()

    assert said(await bench.call("PUT", "jobs", content=slow()), 408)["Code"] == "Timeout"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_only_json_is_taken(bench, kind):
    answer = await bench.call("POST", "jobs", content=b"{}", headers={"content-type": kind})
    assert "application/json" in said(answer, 415)["Message"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example:1234", "http://["])
async def test_a_foreign_web_page_cannot_submit_jobs(bench, origin):
    body = msgspec.json.encode({"Job": wasm_job()})
    answer = await bench.call("POST", "jobs", content=body, headers={"origin": origin})
    assert said(answer, 403)["Code"] == "Forbidden"
    assert (await bench.get("jobs"))["Items"] == []
    own = {"origin": "http://127.0.0.1:1234"}
    assert (await bench.call("POST", "jobs", content=body, headers=own)).status_code == 200


async def test_what_no_node_has_is_said_at_submission_and_leaves_nothing(bench, tmp_path):
    await bench.node("north")
    job = with_url(DATA_URL)
    job["Tasks"][0]["Publisher"] = {"Type": "ipfs"}
    answer = said(await bench.call("PUT", "jobs", json={"Job": job}), 400)
    assert answer["Details"] == {"Field": "Tasks[0].Publisher.Type", "Value": "ipfs"}
    assert "local" in answer["Hint"]
    assert not list((tmp_path / "hub" / "blobs").iterdir())


@pytest.mark.parametrize("key", ["URL", "url", "Url"])
async def test_a_large_module_is_kept_once_however_often_it_comes(bench, tmp_path, key):
    ids = await asyncio.gather(*(bench.submit(with_url(DATA_URL, key)) for _ in range(20)))
    assert len(set(ids)) == 20
    (blob,) = (tmp_path / "hub" / "blobs").iterdir()
    assert blob.read_bytes() == MODULE
    source = (await bench.get(f"jobs/{ids[0]}"))["Job"]["Tasks"][0]["InputSources"][0]["Source"]
    assert source["Params"] == {key: f"blob:sha256:{blob.name};type=application/wasm;size={len(MODULE)}"}
    again = await bench.submit(with_url(source["Params"][key]))
    assert again not in ids


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("blob:sha256:" + "0" * 64, "this hub has no blob"),
        ("blob:sha256:" + "0" * 64 + ";size=3", "this hub has no blob"),
        ("data:application/wasm;base64,AGFzbQ=!", "bad base64"),
        ("data:application/wasm;base64," + "AGF*" * 1000, "bad base64"),
    ],
)
async def test_inline_data_that_is_not_there_or_not_readable_is_refused_at_submission(bench, url, word, tmp_path):
    answer = said(await bench.call("PUT", "jobs", json={"Job": with_url(url)}), 400)
    assert word in answer["Message"]
    assert answer["Details"]["Field"] == "Tasks[0].InputSources[0].Source.Params.URL"
    assert (await bench.get("jobs"))["Items"] == []
    assert not list((tmp_path / "hub" / "blobs").iterdir())


async def test_a_blob_of_another_size_than_said_is_refused(bench):
    ref = bench.hub.blobs.put(MODULE)
    wrong = with_url(f"blob:sha256:{ref.sha256};size=5")
    assert "has 4008 bytes, not 5" in said(await bench.call("PUT", "jobs", json={"Job": wrong}), 400)["Message"]


@pytest.mark.parametrize("where", ["query", "body"])
async def test_the_same_token_makes_one_job(bench, where):
    async def put(job):
        query = {"idempotency_token": "t-1"} if where == "query" else {}
        body = {"Job": job, **({"IdempotencyToken": "t-1"} if where == "body" else {})}
        return await bench.call("PUT", "jobs", json=body, params=query)

    answers = await asyncio.gather(*(put(wasm_job()) for _ in range(5)))
    assert len({answer.json()["JobID"] for answer in answers}) == 1
    await bench.restart()
    assert (await put(wasm_job())).json()["JobID"] == answers[0].json()["JobID"]
    assert "another job" in said(await put(wasm_job(Priority=3)), 409)["Message"]
    assert len((await bench.get("jobs"))["Items"]) == 1


async def test_a_job_is_taken_up_even_when_the_caller_hangs_up(bench):
    await bench.node("north")
    asking = asyncio.create_task(bench.submit(wasm_job(Name="hangs-up")))
    await until(lambda: bench.hub.database.operations)
    for _ in range(3):
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    found = (await bench.get("jobs"))["Items"]
    for job in found:
        assert (await bench.finished(job["ID"]))["State"]["StateType"] == "Completed"


# --- versions -------------------------------------------------------------------------------------


async def test_the_same_name_makes_the_next_version_and_all_versions_are_kept(bench):
    first = await bench.submit(wasm_job(Name="night", Priority=1))
    assert await bench.submit(wasm_job(Name="night", Priority=2)) == first
    versions = (await bench.get("jobs/night/versions"))["Items"]
    assert [(one["Version"], one["Priority"]) for one in versions] == [(1, 1), (2, 2)]
    assert (await bench.get("jobs/night", job_version="1"))["Job"]["Priority"] == 1
    missing = said(await bench.call("GET", "jobs/night", params={"job_version": "9"}), 404)
    assert "no version 9" in missing["Message"]


async def test_no_change_is_said_and_can_be_forced(bench):
    await bench.submit(wasm_job(Name="same"))
    answer = said(await bench.call("PUT", "jobs", json={"Job": wasm_job(Name="same")}), 409)
    assert "no changes detected" in answer["Message"]
    assert "--force" in answer["Hint"]
    await bench.submit(wasm_job(Name="same"), Force=True)
    assert (await bench.get("jobs/same"))["Job"]["Version"] == 2


async def test_a_name_belongs_to_its_namespace_and_its_type_stays(bench):
    one = await bench.submit(wasm_job(Name="n"))
    other = await bench.submit(wasm_job(Name="n", Namespace="lab"))
    assert (await bench.get("jobs/n"))["Job"]["ID"] == one
    assert (await bench.get("jobs/n", namespace="lab"))["Job"]["ID"] == other
    ops = wasm_job(Name="n", Type="ops")
    assert "cannot change from batch to ops" in said(await bench.call("PUT", "jobs", json={"Job": ops}), 400)["Message"]


async def test_validate_tells_what_would_be_stored_and_stores_nothing(bench):
    for body in ({"Job": wasm_job(Name="x")}, wasm_job(Name="x")):
        answer = await bench.call("PUT", "jobs/validate", json=body)
        assert answer.json()["Job"]["Tasks"][0]["Resources"]["Memory"] == "512mb"
    said(await bench.call("PUT", "jobs/validate", json={"Job": wasm_job(Type="x")}), 400)
    assert (await bench.get("jobs"))["Items"] == []


# --- looking at one job ---------------------------------------------------------------------------


async def test_a_job_is_found_by_id_by_the_start_of_its_id_and_by_name(bench):
    job_id = await bench.submit(wasm_job(Name="by-name"))
    for name in (job_id, job_id[:10], "by-name"):
        assert (await bench.get(f"jobs/{name}"))["Job"]["ID"] == job_id
    await bench.submit(wasm_job())
    assert said(await bench.call("GET", "jobs/j-"), 409)["Code"] == "MultipleJobsFound"


@pytest.mark.parametrize("path", ["", "/history", "/executions", "/versions", "/results", "/why"])
@pytest.mark.parametrize("name", ["no-such-job", "j-00000000", "%00", "%ff", "..", "a'b", "x" * 3000])
async def test_an_unknown_job_is_not_found_whatever_it_is_called(bench, path, name):
    answer = await bench.call("GET", f"jobs/{name}{path}")
    if name != "..":
        assert said(answer, 404)["Code"] == "NotFound"
    assert answer.status_code in {200, 404}


async def test_executions_and_history_can_come_along(bench):
    await bench.node("north")
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    whole = await bench.get(f"jobs/{job_id}", include="history,executions")
    assert [e["ComputeState"]["StateType"] for e in whole["Executions"]["Items"]] == [9]
    assert whole["History"]["Items"][0]["Event"]["Message"] == "Job submitted"
    assert "History" not in await bench.get(f"jobs/{job_id}")


async def test_waiting_answers_at_the_end_and_not_before(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED,)
    job_id = await bench.submit(wasm_job())
    early = await bench.get(f"jobs/{job_id}", wait="50ms")
    assert early["Job"]["State"]["StateType"] in {"Pending", "Running"}
    waiting = [asyncio.create_task(bench.finished(job_id)) for _ in range(3)]
    await until(lambda: node.orders)
    await node.report(node.orders[0].execution_id, E.COMPLETED)
    assert {job["State"]["StateType"] for job in await asyncio.gather(*waiting)} == {"Completed"}
    assert not bench.hub.dispatcher.ends


@pytest.mark.parametrize("wait", ["soon", "-1s", "1e9", "99y"])
async def test_a_wait_that_is_no_time_is_refused(bench, wait):
    job_id = await bench.submit(wasm_job())
    assert "duration" in said(await bench.call("GET", f"jobs/{job_id}", params={"wait": wait}), 400)["Message"]


async def test_a_job_is_stopped_once_and_only_while_it_lives(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job())
    await until(lambda: node.orders)
    answer = await bench.call("DELETE", f"jobs/{job_id}", params={"reason": "enough " * 200})
    assert answer.json()["EvaluationID"]
    job = await bench.finished(job_id)
    assert job["State"]["StateType"] == "Stopped"
    assert len(job["State"]["Message"]) == 500
    assert (await bench.call("DELETE", f"jobs/{job_id}")).json() == {"EvaluationID": ""}
    done = await bench.submit(wasm_job())
    await until(lambda: len(node.orders) == 2)
    await node.report(node.orders[1].execution_id, E.COMPLETED)
    await bench.finished(done)
    assert "cannot stop job in state Completed" in said(await bench.call("DELETE", f"jobs/{done}"), 409)["Message"]
    said(await bench.call("DELETE", "jobs/nobody"), 404)


async def test_why_tells_every_answer_also_while_the_auction_is_open(bench):
    north, south = await bench.node("north"), await bench.node("south")
    north.on_invite = lambda i: north.decline(i, "battery", "12 % left")
    south.on_invite = lambda _: None
    job_id = await bench.submit(wasm_job(**PATIENT))
    await until(lambda: any(a.answers for a in bench.hub.board.auctions.values()))
    (tender,) = (await bench.get(f"jobs/{job_id}/why"))["Tenders"]
    assert {b["NodeName"]: b["Outcome"] for b in tender["Bids"]} == {"north": "declined", "south": "waiting"}
    (declined,) = [b for b in tender["Bids"] if b["NodeName"] == "north"]
    assert declined["Reasons"] == [{"Code": "battery", "Message": "12 % left", "Hint": ""}]
