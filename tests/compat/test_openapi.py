"""Requests that schemathesis makes from the OpenAPI document, good and bad ones: no fault, no undocumented status."""

import asyncio
import contextlib
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.support.bacalhau import served
from tests.support.hub_bench import hub_bench
from tests.support.hub_process import wasm_job

CASES = int(os.environ.get("TENDER_API_CASES", "120"))
"""Over all operations together, half of them within the document and half against it. `make fuzz` asks for 10,000."""
ENDLESS = "/api/v1/events"
"""An answer that never ends; it has tests of its own."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


@pytest.fixture
async def url(tmp_path):
    """A hub with a node and jobs that are over, wait and run."""
    async with hub_bench(tmp_path / "hub") as bench:
        await bench.node("north")
        await bench.finished(await bench.submit(wasm_job(Name="done")))
        await bench.submit(wasm_job(Name="waits", Constraints=[{"Key": "x", "Operator": "exists"}]))
        async with served(bench) as url:
            yield url


def check(operation, mode, count):
    """Send `count` requests to one operation."""

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        sent.append(case.operation.label)
        answer = case.call(timeout=30)
        case.validate_response(answer, checks=CHECKS)

    sent = []
    with contextlib.suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
        send()
    return len(sent)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
async def test_no_request_meets_a_fault_or_an_undocumented_status(url, mode):
    def run():
        schema = schemathesis.openapi.from_url(f"{url}/schema/openapi.json").exclude(path=ENDLESS)
        operations = [found.ok() for found in schema.get_all_operations()]
        several = [one for one in operations if check(one, mode, 2) == 2]  # the others can be asked in one way only
        return sum(check(one, mode, CASES // 2 // len(several) + 1) for one in several)

    assert await asyncio.to_thread(run) >= CASES // 2
