"""The OpenAPI document: complete, with examples that fit; and requests that schemathesis makes from it."""

import asyncio
import contextlib
import os

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hub.api.described.bodies import WITHOUT
from hub.api.described.operations import operations
from hub.api.openapi import TAGS
from tests.support.hub_bench import hub_bench
from tests.support.hub_process import wasm_job
from tests.support.people import People
from tests.support.served import served
from wire.messages import EngineCapability

CASES = int(os.environ.get("TENDER_API_CASES", "100"))
"""Over all operations together: half of them at an open hub, half at one with users; half of each against the document.
`make fuzz` asks for 10,000."""
ENDLESS = "/api/v1/events"
"""An answer that ends only when it is told to."""
CLOSES = "addUser"
"""At an open hub it would end the openness."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@contextlib.asynccontextmanager
async def hub(folder):
    """A hub with a node and jobs that are over, wait and run; gives its URL and the bench."""
    async with hub_bench(folder, address_rate=100_000, user_rate=100_000) as bench:
        await bench.node("north")
        await bench.finished(await bench.submit(wasm_job(Name="done")))
        await bench.submit(wasm_job(Name="waits", Constraints=[{"Key": "x", "Operator": "exists"}]))
        async with served(bench) as url:
            yield url, bench


@pytest.fixture
async def document(tmp_path):
    async with hub_bench(tmp_path / "hub") as bench:
        yield (await bench.call("GET", "/schema/openapi.json")).json()


def each(document):
    """Method, path and description of every operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def wrong(document, schema, example):
    """What is wrong with an example."""
    whole = {**schema, "components": document["components"]}
    return [error.message for error in jsonschema_rs.validator_for(whole).iter_errors(example)]


def test_every_operation_has_a_name_a_summary_a_tag_rights_and_errors(document):
    names = [operation["operationId"] for _, _, operation in each(document)]
    assert len(names) == len(set(names)) > 40
    assert set(operations()) == {(method, path) for method, path, _ in each(document)}
    for method, path, operation in each(document):
        said = f"{method} {path}"
        assert operation["summary"], said
        assert operation["description"], said
        assert set(operation["tags"]) <= set(TAGS), said
        assert operation["security"] or operation["x-needs"] == "open", said
        assert {"200", "400", "401", "403", "404", "429"} <= set(operation["responses"]), said
        if method in {"put", "post"} and (method, path) not in WITHOUT:
            assert operation["requestBody"]["content"]["application/json"]["example"], said
    assert set(document["components"]["securitySchemes"]) == {"key", "password"}


def test_every_example_fits_its_schema(document):
    count = 0
    for method, path, operation in each(document):
        bodies = {"body": operation.get("requestBody", {}), **operation["responses"]}
        for name, body in bodies.items():
            for kind, content in body.get("content", {}).items():
                if kind == "application/json":
                    count += 1
                    found = wrong(document, content["schema"], content["example"])
                    assert not found, f"{method} {path} {name}: {found}"
    assert count > 300


async def test_the_examples_of_bodies_are_taken(document, tmp_path):
    async with hub_bench(tmp_path / "other") as bench:
        await bench.node("north", engines={"podman": EngineCapability("5")})
        root = People(bench)
        for method, path, operation in each(document):
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is None or "/agent/" in path or "/auth/" in path:
                continue
            if path.endswith("/users"):
                await root.add("root", ["*"], ["*"])
            names = {"/jobs/": "hello", "/users/": "ann", "/webhooks/": next(iter(bench.hub.webhooks.registry.all), "")}
            url = path.replace("{name}", next((name for part, name in names.items() if part in path), "north"))
            answer = await root.ask("root", method.upper(), url, json=body["example"])
            assert answer.status_code in {200, 409}, f"{method} {path}: {answer.text}"


def check(operation, mode, count, key):
    """Send `count` requests to one operation, every tenth without the key that opens it."""

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
        if case.path == ENDLESS and isinstance(case.query, dict):
            case.query["duration"] = "0.01"
        headers = {"Authorization": f"Bearer {key}"} if key and len(sent) % 10 else {}
        answer = case.call(timeout=70, headers=headers)
        case.validate_response(answer, checks=CHECKS)

    sent = []
    with contextlib.suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
        send()
    return len(sent)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(
    "users", [pytest.param(False, id="open", marks=pytest.mark.long), pytest.param(True, id="users")]
)
async def test_no_request_meets_a_fault_or_an_undocumented_status(tmp_path, users, mode):
    def run(url, key):
        schema = schemathesis.openapi.from_url(f"{url}/schema/openapi.json")
        schema = schema if key else schema.exclude(operation_id=CLOSES)
        found = [one.ok() for one in schema.get_all_operations()]
        share = CASES // 4 // len(found) + 1
        if share == 1:
            return sum(check(one, mode, 1, key) for one in found)
        several = [one for one in found if check(one, mode, 2, key) == 2]  # the others can be asked in one way only
        return sum(check(one, mode, CASES // 4 // len(several) + 1, key) for one in several)

    async with hub(tmp_path / "hub") as (url, bench):
        people = People(bench)
        if users:
            await people.add("root", ["*"], ["*"])
            await people.add("ann", ["read:job"], ["default"])
        sent = await asyncio.to_thread(run, url, people.keys.get("root", ""))
    print(f"{sent} requests")
    assert sent >= CASES // 4
