"""Bacalhau's rules on a job, one a line: what breaks it, the field that is named, and Bacalhau's sentence."""

import json
from pathlib import Path

import pytest

from tests.support.hub_bench import hub_bench
from tests.support.job_documents import CONTAINER, WASM, bent

RULES = json.loads((Path(__file__).parent / "rules.json").read_text())
DOCUMENTS = {"wasm": WASM, "container": CONTAINER, "ops": bent(WASM, "Type", "ops")}


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        yield running


@pytest.mark.parametrize(("base", "path", "value", "field", "message"), RULES)
async def test_a_job_that_breaks_a_rule_is_refused_with_field_and_sentence(bench, base, path, value, field, message):
    answer = await bench.call("PUT", "jobs", json={"Job": bent(DOCUMENTS[base], path, value)})
    assert answer.status_code == 400, answer.text
    told = answer.json()
    assert message in told["Message"].splitlines()
    assert field in told["Details"]
    assert (await bench.get("jobs"))["Items"] == []


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
