"""Limits of requests: each answers 400, 413 or 429 with the field, the value, and what to do instead."""

import asyncio

import pytest

from tests.support.hub_bench import hub_bench, until
from tests.support.hub_process import wasm_job
from tests.support.listening import listening
from tests.support.people import People
from tests.support.served import served

LISTS = ("jobs", "jobs/x/history", "jobs/x/executions", "jobs/x/why", "/api/v1/audit")


def held(answer, status, field, value=""):
    """Whether an answer refuses with field, value and hint."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["Details"]["Field"] == field, body
    assert value in body["Details"]["Value"], body
    assert body["Hint"], body


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        *((path, "limit", "1001") for path in LISTS),
        *((path, "limit", "-1") for path in LISTS),
        *((path, "limit", "many") for path in LISTS),
        *((path, "next_token", "not-a-token") for path in LISTS),
        ("nodes", "limit", "10001"),
        ("jobs", "order_by", "colour"), ("jobs/x/executions", "order_by", "colour"), ("nodes", "order_by", "colour"),
        ("jobs", "state", "dreaming"), ("jobs", "labels", "a b c"), ("nodes", "labels", "a b c"),
        ("jobs/x/history", "event_type", "rare"), ("jobs/x/history", "since", "soon"),
        ("/api/v1/audit", "since", "soon"),
        ("jobs/x", "wait", "a while"), ("jobs/x", "job_version", "-1"), ("jobs/x/why", "slot", "-2"),
        ("nodes", "filter-approval", "maybe"), ("nodes", "filter-status", "maybe"),
        ("/api/v1/events", "type", "rare"), ("/api/v1/events", "duration", "long"),
    ],
)  # fmt: skip
async def test_a_parameter_that_cannot_be_is_named_with_its_value(bench, path, field, value):
    held(await bench.call("GET", path, params={field: value}), 400, field, value)


async def test_a_list_takes_so_many_label_selectors(bench):
    held(await bench.call("GET", "jobs", params={"labels": ",".join(["a"] * 65)}), 400, "labels", "65")


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "nodes/north", {}, "action"), ("PUT", "nodes/north", {"Action": "paint"}, "Action"),
        ("PUT", "nodes/north", {"Action": 7}, "Action"),
        ("PUT", "nodes/north/labels", {}, "Labels"), ("PUT", "nodes/north/labels", {"Labels": {"a": 1}}, "Labels[...]"),
        ("PUT", "nodes/north/labels", {"Labels": {f"l{n}": "x" for n in range(17)}}, "Labels"),
        ("PUT", "nodes/north/labels", {"Labels": {"a b": "x"}}, "Labels.a b"),
        ("PUT", "nodes/north/labels", {"Labels": {"a": "x" * 64}}, "Labels.a"),
        ("PUT", "nodes/north/drain", {"Deadline": "soon"}, "Deadline"),
        ("PUT", "nodes/north/drain", {"Later": 1}, "Later"),
        ("PUT", "nodes/north/maintenance", {"Duration": "soon"}, "Duration"),
        ("POST", "nodes/token", {"Life": 0.5}, "Life"), ("POST", "nodes/token", {"Life": "x"}, "Life"),
        ("PUT", "jobs/x/rerun", {"JobVersion": -1}, "JobVersion"),
        ("PUT", "submissions", {"Jobs": 1}, "Jobs"),
        ("POST", "/api/v1/users", {"Nmae": "a"}, "Nmae"), ("POST", "/api/v1/users", {"Name": "A B"}, "Name"),
        ("POST", "/api/v1/users", {"Name": "a", "Capabilities": ["read:jbo"]}, "Capabilities"),
        ("POST", "/api/v1/users", {"Name": "a", "Capabilities": []}, "Capabilities"),
        ("POST", "/api/v1/users", {"Name": "a", "Capabilities": ["*"], "Namespaces": ["n"] * 101}, "Namespaces"),
        ("POST", "/api/v1/users", {"Name": "a", "Capabilities": ["*"], "Namespaces": ["\n"]}, "Namespaces"),
        ("POST", "/api/v1/users", {"Name": "a", "Capabilities": ["*"], "Password": "tiny-pw"}, "Password"),
        ("POST", "/api/v1/users", {"Name": "a", "Capabilities": ["*"], "Rate": -1}, "Rate, BodyBytes"),
        ("POST", "/api/v1/keys", {"User": "a", "Label": "x" * 101}, "Label"),
        ("POST", "/api/v1/keys", {"User": "a", "Life": 1e12}, "Life"),
    ],
)  # fmt: skip
async def test_a_field_of_a_body_that_cannot_be_is_named(bench, method, path, body, field):
    await bench.node("north")
    answer = await bench.call(method, path, json=body)
    assert answer.status_code == 400, answer.text
    told = answer.json()
    assert told["Details"]["Field"].lower() == field.lower(), told
    assert {"Value"} <= set(told["Details"]), told
    assert told["Hint"], told
    assert "tiny-pw" not in answer.text


async def test_bodies_and_numbers_of_jobs_have_a_cap(bench):
    held(await bench.call("PUT", "jobs", content=b" " * (10 * 1024**2 + 1)), 413, "body", "10485761")
    held(await bench.call("POST", "/api/v1/users", content=b" " * 70_000), 413, "body", "70000")
    held(await bench.call("PUT", "submissions", json={"Jobs": [{}] * 1001}), 413, "Jobs", "1001")


async def test_too_many_requests_and_too_many_at_once_name_whose_they_are(tmp_path):
    async with hub_bench(tmp_path / "hub", user_rate=1000) as bench:
        people = People(bench)
        await people.add("root", ["*"], ["*"])
        await people.add("busy", ["read:*"], ["*"], rate=1)
        answers = [await people.ask("busy", "GET", "jobs") for _ in range(6)]
        held(answers[-1], 429, "user", "busy")
        for _ in range(256):
            bench.hub.limits.enter("user root")
        answer = await people.ask("root", "GET", "jobs")
        held(answer, 429, "user", "root")
        assert int(answer.headers["retry-after"]) >= 1


async def test_connections_of_a_user_that_stay_open_have_an_end(tmp_path):
    async with hub_bench(tmp_path / "hub") as bench, served(bench) as url:
        people = People(bench)
        await people.add("root", ["*"], ["*"])
        await people.add("other", ["read:job"], ["*"])
        bench.hub.listeners.each = 2
        listens = [
            asyncio.create_task(people.ask("root", "GET", "/api/v1/events", params={"duration": "20"})) for _ in "12"
        ]
        await until(lambda: bench.hub.listeners.count == 2)
        held(await people.ask("root", "GET", "/api/v1/events"), 429, "connections", "2")
        other = await people.ask("other", "GET", "/api/v1/events", params={"duration": "0.01"})
        assert other.status_code == 200
        for task in listens:
            task.cancel()
        await asyncio.gather(*listens, return_exceptions=True)
        assert url


async def test_a_tail_of_more_lines_than_there_may_be_is_refused(bench):
    async with served(bench) as url:
        job_id = await bench.submit(wasm_job(Constraints=[{"Key": "x", "Operator": "exists"}]))
        for tail in ("1000000000", "-5", "some"):
            async with listening(url, job_id, tail=tail) as log:
                await log.rest()
            assert f"tail is '{tail}', not true, false or a number" in log.error
