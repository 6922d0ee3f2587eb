"""Lists of the API: paging, filters, orders and limits, and never an internal error for odd parameters."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.hub_process import wasm_job


async def names(bench, **query):
    """All names over all pages, and the number of pages."""
    found, pages, token = [], 0, None
    while token != "":
        answer = await bench.get("jobs", **query, **({"next_token": token} if token else {}))
        found += [job["Name"] for job in answer["Items"]]
        token, pages = answer["NextToken"], pages + 1
    return found, pages


async def test_pages_follow_each_other_without_gap_or_repeat(bench):
    for number in range(7):
        await bench.submit(wasm_job(Name=f"job-{number}"))
    everything = [f"job-{number}" for number in range(7)]
    assert await names(bench, limit="3") == (everything, 3)
    assert await names(bench) == (everything, 1)
    assert await names(bench, limit="0") == (everything, 1)
    assert (await names(bench, limit="2", reverse="true"))[0] == everything[::-1]
    by_id, pages = await names(bench, limit="2", order_by="id")
    assert (sorted(by_id), pages) == (everything, 4)


async def test_the_last_page_says_that_it_is_the_last(bench):
    for number in range(4):
        await bench.submit(wasm_job(Name=f"job-{number}"))
    assert (await names(bench, limit="2"))[1] == 2


async def test_jobs_are_filtered_by_namespace_state_and_labels(bench):
    await bench.submit(wasm_job(Name="a", Labels={"team": "red", "prio": "3"}))
    await bench.submit(wasm_job(Name="b", Labels={"team": "blue"}, Namespace="lab"))
    await bench.submit(wasm_job(Name="c", Labels={"prio": "9"}))
    for job in (await bench.get("jobs"))["Items"]:
        await bench.finished(job["ID"])
    for query, wanted in (
        ({"namespace": "lab"}, ["b"]),
        ({"namespace": "*"}, ["a", "b", "c"]),
        ({"state": "failed"}, ["a", "b", "c"]),
        ({"state": "Stopped"}, []),
        ({"labels": "team=red"}, ["a"]),
        ({"labels": "team!=red"}, ["b", "c"]),
        ({"labels": "team in (red, blue)"}, ["a", "b"]),
        ({"labels": "team notin (red)"}, ["b", "c"]),
        ({"labels": "team,!prio"}, ["b"]),
        ({"labels": ["team", "prio"]}, ["a"]),
        ({"labels": "prio>4"}, ["c"]),
        ({"labels": "prio lt 4"}, ["a"]),
        ({"labels": "bacalhau_canary!=true"}, ["a", "b", "c"]),
    ):
        assert (await names(bench, **query))[0] == wanted, query


async def test_a_rare_label_is_found_behind_many_other_jobs(bench):
    for number in range(130):
        await bench.submit(wasm_job(Name=f"job-{number}", Labels={"rare": "yes"} if number in {120, 125} else {}))
    answer = await bench.get("jobs", labels="rare=yes", limit="1")
    assert [job["Name"] for job in answer["Items"]] == ["job-120"]
    rest = await bench.get("jobs", labels="rare=yes", next_token=answer["NextToken"])
    assert [job["Name"] for job in rest["Items"]] == ["job-125"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("jobs", {"limit": "-1"}), ("jobs", {"limit": "1001"}), ("jobs", {"limit": "many"}),
        ("jobs", {"limit": "9" * 30}),
        ("jobs", {"next_token": "%%"}), ("jobs", {"next_token": "Ok46Mjo"}), ("jobs", {"order_by": "nonsense"}),
        ("jobs", {"state": "asleep"}), ("jobs", {"labels": "a b c"}), ("jobs", {"labels": "prio>many"}),
        ("jobs", {"labels": ",".join(f"k{n}" for n in range(65))}),
        ("jobs/x/history", {"since": "yesterday"}), ("jobs/x/history", {"since": "²"}),
        ("jobs/x/history", {"since": "9" * 25}), ("jobs/x/history", {"event_type": "weather"}),
        ("jobs/x/history", {"job_version": "9" * 25}), ("jobs/x", {"job_version": "-1"}),
        ("jobs/x/executions", {"order_by": "colour"}), ("jobs/x/executions", {"limit": "5000"}),
        ("nodes", {"order_by": "available___class__"}), ("nodes", {"order_by": "colour"}), ("nodes", {"limit": "x"}),
        ("nodes", {"filter-status": "sleepy"}), ("nodes", {"filter-approval": "maybe"}), ("nodes", {"labels": "=x"}),
    ],
)  # fmt: skip
async def test_a_parameter_that_means_nothing_is_refused(bench, path, query):
    await bench.submit(wasm_job(Name="x"))
    await bench.node("north")
    await bench.node("south")
    answer = await bench.call("GET", path, params=query)
    assert answer.status_code == 400, answer.text
    assert answer.json()["Code"] == "BadRequest"


async def test_history_comes_in_order_by_kind_and_page_and_its_token_ends_with_the_job(bench):
    await bench.node("north")
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    whole = await bench.get(f"jobs/{job_id}/history")
    numbers = [one["SeqNum"] for one in whole["Items"]]
    assert numbers == sorted(numbers)
    assert whole["NextToken"] == ""
    messages = [one["Event"]["Message"] for one in whole["Items"]]
    assert messages[0] == "Job submitted"
    assert messages[-1] == "Completed"
    first = await bench.get(f"jobs/{job_id}/history", limit="2")
    second = await bench.get(f"jobs/{job_id}/history", next_token=first["NextToken"])
    assert [one["Event"]["Message"] for one in (*first["Items"], *second["Items"])] == messages[:4]
    jobs = (await bench.get(f"jobs/{job_id}/history", event_type="job"))["Items"]
    works = (await bench.get(f"jobs/{job_id}/history", event_type="execution"))["Items"]
    assert {one["Type"] for one in jobs} == {"JobLevel"}
    assert {one["Type"] for one in works} == {"ExecutionLevel"}
    assert len(jobs) + len(works) == len(messages)
    x = works[0]["ExecutionID"]
    assert (await bench.get(f"jobs/{job_id}/history", execution_id=x))["Items"] == works
    for since in ("4000000000", "2090-01-01T00:00:00Z", "2090-01-01"):
        assert (await bench.get(f"jobs/{job_id}/history", since=since))["Items"] == []
    for since in ("0", "1970-01-01T00:00:00+02:00"):
        assert len((await bench.get(f"jobs/{job_id}/history", since=since))["Items"]) == len(messages)


async def test_the_token_of_a_history_stays_while_the_job_lives(bench):
    job_id = await bench.submit(wasm_job(Tasks=[{**wasm_job()["Tasks"][0], "Timeouts": {"QueueTimeout": 600}}]))
    answer = await bench.get(f"jobs/{job_id}/history")
    for _ in range(2):
        assert answer["NextToken"]
        answer = await bench.get(f"jobs/{job_id}/history", next_token=answer["NextToken"])
    await bench.call("DELETE", f"jobs/{job_id}")
    await bench.finished(job_id)
    rest = await bench.get(f"jobs/{job_id}/history", next_token=answer["NextToken"])
    assert rest["NextToken"] == ""
    assert rest["Items"][-1]["Event"]["Details"]["NewState"] == "Stopped"


async def test_executions_are_of_the_current_version_unless_all_are_asked_for(bench):
    await bench.node("north")
    for priority in (1, 2):
        job_id = await bench.submit(wasm_job(Name="twice", Priority=priority))
        await bench.finished(job_id)
    for query, versions in (({}, [2]), ({"all_job_versions": "true"}, [1, 2]), ({"job_version": "1"}, [1])):
        found = (await bench.get("jobs/twice/executions", **query))["Items"]
        assert [one["JobVersion"] for one in found] == versions
        assert [(one["Job"]["Version"], one["Job"]["Priority"]) for one in found] == [(n, n) for n in versions]
    backwards = await bench.get("jobs/twice/executions", all_job_versions="1", reverse="true", order_by="modified_at")
    assert [one["JobVersion"] for one in backwards["Items"]] == [2, 1]
    limited = await bench.get("jobs/twice/executions", all_job_versions="1", limit="1")
    assert [one["JobVersion"] for one in limited["Items"]] == [1]


PATHS = st.sampled_from(["jobs", "jobs/x", "jobs/x/history", "jobs/x/executions", "jobs/x/why", "nodes", "nodes/x"])
KEYS = st.sampled_from(
    ["limit", "next_token", "order_by", "reverse", "state", "labels", "namespace", "wait", "since", "event_type",
     "execution_id", "job_version", "all_job_versions", "include", "filter-status", "filter-approval"]
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=20), st.sampled_from(["0", "-1", "1", "true", "é", "NaN", "1e9", "0x1", "%", "\x00", "½"])
)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(path=PATHS, query=st.dictionaries(KEYS, VALUES, max_size=3))
async def test_no_parameter_ever_causes_an_internal_error(bench, path, query):
    if "x" not in [job["Name"] for job in (await bench.get("jobs"))["Items"]]:
        await bench.submit(wasm_job(Name="x"))
    query.pop("wait", None) if len(query.get("wait", "")) > 0 and query["wait"].strip().isdigit() else None
    answer = await bench.call("GET", path, params=query)
    assert answer.status_code in {200, 400, 404, 409}, (answer.status_code, answer.text)
    if answer.status_code != 200:
        assert answer.json()["Message"]
