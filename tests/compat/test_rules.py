"""Bacalhau's rules on a job, one a line: what breaks it, the field that is named, and Bacalhau's sentence."""

import json
from pathlib import Path

import pytest

from tests.support.hub_bench import hub_bench
from tests.support.job_documents import CONTAINER, WASM, bent
from wire.jobs import limits

RULES = json.loads((Path(__file__).parent / "rules.json").read_text())
DOCUMENTS = {
    "wasm": WASM,
    "container": CONTAINER,
    "ops": bent(WASM, "Type", "ops"),
    "daemon": bent(WASM, "Type", "daemon"),
}
COUNTS = [
    ("Labels", limits.LABELS, lambda n: {f"l{i}": "x" for i in range(n)}),
    ("Meta", limits.META, lambda n: {f"l{i}": "x" for i in range(n)}),
    ("Constraints", limits.CONSTRAINTS, lambda n: [{"Key": "a", "Operator": "exists"}] * n),
    ("SuccessExitCodes", limits.EXIT_CODES, lambda n: list(range(n))),
    ("Tasks.0.Meta", limits.META, lambda n: {f"l{i}": "x" for i in range(n)}),
    ("Tasks.0.Env", limits.ENV, lambda n: {f"E{i}": "x" for i in range(n)}),
    (
        "Tasks.0.InputSources",
        limits.INPUTS,
        lambda n: [{"Source": {"Type": "inline", "Params": {"URL": "data:,x"}}, "Target": f"/t{i}"} for i in range(n)],
    ),
    ("Tasks.0.ResultPaths", limits.RESULT_PATHS, lambda n: [{"Name": f"r{i}", "Path": f"/r{i}"} for i in range(n)]),
    ("Tasks.0.Secrets", limits.SECRETS, lambda n: [{"Name": f"s{i}"} for i in range(n)]),
    ("Tasks.0.Engine.Params.Parameters", limits.ARGUMENTS, lambda n: ["x"] * n),
    ("Tasks.0.Engine.Params.Entrypoint", limits.ARGUMENTS, lambda n: ["x"] * n),
    ("Tasks.0.Engine.Params.EnvironmentVariables", limits.ENV, lambda n: [f"E{i}=x" for i in range(n)]),
]
"""Where, how many are taken, and so many of them."""


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        yield running


@pytest.mark.parametrize("base", list(DOCUMENTS))
async def test_a_job_that_breaks_a_rule_is_refused_with_field_sentence_and_hint(bench, base):
    rules = [rule[1:] for rule in RULES if rule[0] == base]
    assert rules
    for path, value, field, message in rules:
        answer = await bench.call("PUT", "jobs", json={"Job": bent(DOCUMENTS[base], path, value)})
        assert answer.status_code == 400, f"{path}: {answer.text}"
        told = answer.json()
        assert message in told["Message"].splitlines(), f"{path}: {told}"
        assert field in told["Details"], f"{path}: {told}"
        assert told["Hint"], f"{path}: {told}"
    assert (await bench.get("jobs"))["Items"] == []


async def test_more_of_something_than_is_taken_is_refused_with_the_number(bench):
    for path, most, made in COUNTS:
        for count, taken in ((most, True), (most + 1, False)):
            answer = await bench.call("PUT", "jobs/validate", json={"Job": bent(CONTAINER, path, made(count))})
            assert (answer.status_code == 200) is taken, f"{path}: {answer.text}"
        told = answer.json()
        field = path.replace(".0.", "[0].")
        assert f"{field} has {most + 1} entries, at most {most} are taken" in told["Message"]
        assert field in told["Details"]
        assert told["Hint"]


async def test_one_task_is_taken_of_however_many_and_that_is_said(bench):
    answer = await bench.call("PUT", "jobs/validate", json={"Job": {**WASM, "Tasks": WASM["Tasks"] * 500}})
    assert (len(answer.json()["Job"]["Tasks"]), answer.status_code) == (1, 200)
    assert "only one task is supported per job" in answer.json()["Warnings"]


@pytest.mark.parametrize("kind", ["service", "daemon"])
async def test_timeouts_of_a_job_that_never_ends_are_ignored_with_a_warning(bench, kind):
    job = bent({**WASM, "Type": kind}, "Tasks.0.Timeouts", {"TotalTimeout": 5})
    answer = (await bench.call("PUT", "jobs/validate", json={"Job": job})).json()
    assert answer["Warnings"] == [f"timeouts are for batch and ops jobs and will be ignored for a {kind} job"]
    assert not any(answer["Job"]["Tasks"][0]["Timeouts"].values())


async def test_results_without_a_publisher_get_the_one_of_the_node(bench):
    job = bent(CONTAINER, "Tasks.0.ResultPaths", [{"Name": "out", "Path": "/out"}])
    answer = (await bench.call("PUT", "jobs/validate", json={"Job": job})).json()
    assert answer["Job"]["Tasks"][0]["Publisher"]["Type"] == "local"


async def test_the_same_name_is_an_update_that_keeps_the_type_and_changes_something(bench):
    job = {**WASM, "Name": "twice"}
    assert (await bench.call("PUT", "jobs", json={"Job": job})).status_code == 200
    again = await bench.call("PUT", "jobs", json={"Job": job})
    assert again.status_code == 409
    assert again.json()["Message"].startswith("no changes detected for new job spec. Job Name: 'twice', Job Id: 'j-")
    assert (await bench.call("PUT", "jobs", json={"Job": job, "Force": True})).status_code == 200
    other = await bench.call("PUT", "jobs", json={"Job": {**job, "Type": "service"}})
    assert (other.status_code, "cannot change from batch to service" in other.text) == (400, True)


async def test_what_the_server_owns_is_dropped_with_a_warning(bench):
    owned = {
        "ID": "j-mine",
        "Version": 7,
        "Revision": 3,
        "CreateTime": 1,
        "ModifyTime": 1,
        "State": {"StateType": "Running"},
    }
    job = bent({**WASM, **owned, "Tasks": WASM["Tasks"] * 2}, "Meta", {"bacalhau.org/x": "1", "mine": "2"})
    answer = (await bench.call("PUT", "jobs", json={"Job": job})).json()
    words = " ".join(answer["Warnings"])
    for part in ("ID", "state", "version", "revision", "create time", "modify time", "one task", "bacalhau.org/x"):
        assert part in words
    stored = (await bench.get(f"jobs/{answer['JobID']}"))["Job"]
    assert (stored["Version"], len(stored["Tasks"]), stored["Meta"]["mine"]) == (1, 1, "2")
    assert stored["ID"] != "j-mine"
