"""Documents that are no job, and jobs that no node can do: refused with field, value and hint, or failed with reasons.

The whole corpus of malformed documents, wrong fields and wrong values is read in `tests/unit/test_job_parse.py`,
`test_job_rules.py` and `test_job_documents_strict.py`; here one of each kind goes through the hub's door.
"""

import json

import httpx
import pytest
import pytest_asyncio

from tests.support.fleet import Fleet
from tests.support.scenario import Notebook, Traced, hub_rows, settings, traced_job, wasm_task

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    regions = {"north": "eu", "south": "us"}
    nodes = {name: settings(folder, name, labels={"region": region}) for name, region in regions.items()}
    async with Fleet(folder, nodes) as running:
        yield running


def job_with(**fields):
    return json.dumps({"Job": {"Type": "batch", "Tasks": [wasm_task(Traced())], **fields}}).encode()


def task_with(**fields):
    return job_with(Tasks=[wasm_task(Traced()) | fields])


def engine(kind, **params):
    return {"Engine": {"Type": kind, "Params": params}}


async def put(fleet: Fleet, body: bytes) -> httpx.Response:
    return await fleet.hub.client.put("/api/v1/orchestrator/jobs", content=body)


async def stored(fleet: Fleet) -> int:
    (row,) = await hub_rows(fleet.hub, "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM events) AS n")
    return row["n"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "empty/nil job"),
        (b'{"Job": {', 400, "line 1, column 10"),
        (b"\xff\xfe", 400, "UTF-8"),
        (b"[]", 400, "must be an object"),
        (b"{}", 400, "empty/nil job"),
        (b'{"Job": {"Type": "batch", "Type": "ops"}}', 400, "given twice"),
        (b"[" * 100_000, 413, "more than"),
        (b'{"Job": "' + b"x" * (10 * MIB) + b'"}', 413, "the cap is 10485760"),
    ],
    ids=["empty", "torn", "no text", "a list", "no job", "twice", "deep", "oversized"],
)
async def test_a_body_that_is_no_job_is_refused_and_nothing_is_stored(fleet, body, status, says):
    before = await stored(fleet)
    refused = await put(fleet, body)
    assert (refused.status_code, refused.json()["Status"]) == (status, status)
    assert says in refused.json()["Message"]
    assert await stored(fleet) == before


async def test_a_body_that_does_not_tell_its_length_is_counted(fleet):
    async def chunks():
        for _ in range(12):
            yield b" " * MIB

    before = await stored(fleet)
    refused = await fleet.hub.client.put("/api/v1/orchestrator/jobs", content=chunks())
    assert refused.status_code == 413, refused.text
    assert await stored(fleet) == before


@pytest.mark.parametrize(
    ("body", "field", "value", "hint"),
    [
        (job_with(Cuont=3), "Cuont", "3", "write Count"),
        (job_with(Type="bath"), "Type", "bath", "write batch"),
        (job_with(Count=-1), "Count", "-1", ""),
        (job_with(Count=10**9), "Count", "1000000000", ""),
        (job_with(Name="x" * 5_000), "Name", "xxx", ""),
        (job_with(Tasks=[]), "Tasks", "", "a job has one task"),
        (task_with(Resources={"CPU": "lots"}), "Tasks[0].Resources.CPU", "lots", "500m"),
        (task_with(Resources={"Memory": "-5"}), "Tasks[0].Resources.Memory", "-5", "512Mb"),
        (task_with(Timeouts={"QueueTimeout": "soon"}), "Tasks[0].Timeouts.QueueTimeout", "soon", "1h30m"),
        (task_with(**engine("wasm", EntryModul="m")), "Tasks[0].Engine.Params.EntryModul", "m", "write EntryModule"),
        (task_with(Env={"A": "x" * 200_000}), "Tasks[0].Env", "(not shown)", "input source"),
    ],
    ids=["field", "type", "count", "counts", "name", "tasks", "cpu", "memory", "duration", "parameter", "environment"],
)
async def test_a_job_with_a_wrong_field_is_refused_with_field_value_and_hint(fleet, body, field, value, hint):
    before = await stored(fleet)
    refused = await put(fleet, body)
    assert refused.status_code == 400, refused.text
    said = refused.json()
    assert said["Status"] == 400
    assert said["Details"][field].startswith(value)
    assert hint in said.get("Hint", "")
    assert await stored(fleet) == before


@pytest.mark.parametrize(
    ("body", "field", "value", "has"),
    [
        (task_with(**engine("kvm")), "Tasks[0].Engine.Type", "kvm", "wasm"),
        (task_with(Publisher={"Type": "ftp"}), "Tasks[0].Publisher.Type", "ftp", "local"),
        (
            task_with(InputSources=[{"Target": "main.wasm", "Source": {"Type": "gopher", "Params": {}}}]),
            "Tasks[0].InputSources[0].Source.Type",
            "gopher",
            "inline",
        ),
    ],
    ids=["executor", "publisher", "input source"],
)
async def test_what_no_node_of_the_fleet_has_is_said_at_submission(fleet, body, field, value, has):
    before = await stored(fleet)
    refused = await put(fleet, body)
    assert refused.status_code == 400, refused.text
    assert refused.json()["Details"] == {"Field": field, "Value": value}
    assert has in refused.json()["Hint"]
    assert await stored(fleet) == before


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"Constraints": [{"Key": "region", "Operator": "=", "Values": ["cn"]}]},
            ["2 × label: needs region = cn, has ", "needs region = cn, has us", "needs region = cn, has eu"],
        ),
        ({"Task": {"Resources": {"GPU": "7"}}}, ["2 × gpu: needs 7 gpu, has 0"]),
        (
            {
                "Count": 3,
                "Constraints": [{"Key": "region", "Operator": "=", "Values": ["eu"]}],
                "Task": {"Resources": {"Memory": "4Tb"}},
            },
            ["requested: 3", "1 × label: needs region = eu, has us", "1 × memory: needs 4.0 TB memory, has "],
        ),
    ],
    ids=["label", "gpu", "both"],
)
async def test_a_job_that_no_node_matches_fails_with_its_reasons_grouped_and_counted(fleet, tmp_path, fields, says):
    job_id = await fleet.hub.submit(traced_job(Notebook(tmp_path / "notebook"), **fields))
    job = await fleet.hub.finished(job_id)
    assert job["State"]["StateType"] == "Failed"
    for part in ["not enough nodes to run job", "available: 2, suitable: 0", *says]:
        assert part in job["State"]["Message"]
