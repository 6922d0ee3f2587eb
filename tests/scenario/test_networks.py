"""Jobs with networks on a fleet: what they reach, and what the nodes say that cannot hold them to it."""

from typing import Any

import pytest
import pytest_asyncio

from tests.support.fleet import Fleet
from tests.support.hub_process import PATIENT
from tests.support.podman import IMAGE, TestPodman, podman_parts_fixture  # noqa: F401
from tests.support.scenario import completed, executions, inline, settings, why
from tests.support.wat import Program
from tests.support.web import answer, web_server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
PODMAN = '[podman]\nsocket = "{socket}"\n[network]\nallow_hosts = ["127.0.0.1"]'
NO_PODMAN = '[engines]\ndisabled = ["podman"]\n[bidding]\nreject_networked = true'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory, podman_parts: TestPodman):
    folder = tmp_path_factory.mktemp("fleet")
    nodes = {"north": PODMAN.format(socket=podman_parts.socket), "south": NO_PODMAN}
    async with Fleet(folder, {name: settings(folder, name, more) for name, more in nodes.items()}) as running:
        yield running


def container(script: str, **fields: Any) -> dict[str, Any]:
    engine = {"Type": "docker", "Params": {"Image": IMAGE, "Parameters": ["sh", "-c", script]}}
    return {"Type": "batch", "Tasks": [{"Engine": engine, **fields}]}


async def test_a_container_reaches_its_domains_and_nothing_else(fleet):
    async with web_server() as site:
        site.pages["/in"] = [answer("200 OK", b"inside\n")]
        script = f"wget -q -O - {site.url}/in; wget -q -O - http://example.org/ || echo refused"
        job_id = await fleet.hub.submit(container(script, Network={"Type": "HTTP", "Domains": ["127.0.0.1"]}))
        await completed(fleet.hub, job_id)
    (execution,) = await executions(fleet.hub, job_id)
    assert execution["RunOutput"]["Stdout"] == "inside\nrefused\n"
    assert execution["Tender"]["NodeName"] == "north"


async def test_a_wasm_program_has_no_sockets_and_its_submitter_is_told(fleet):
    task = {
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "main.wasm"}},
        "InputSources": [inline("main.wasm", Program().print("x").wasm())],
        "Network": {"Type": "HTTP", "Domains": ["example.org"]},
    }
    job_id = await fleet.hub.submit({"Type": "batch", "Tasks": [task], **PATIENT})
    assert (await fleet.hub.finished(job_id))["State"]["StateType"] == "Failed"
    (tender,) = await why(fleet.hub, job_id)
    said = {bid["NodeName"]: [reason["Message"] for reason in bid["Reasons"]] for bid in tender["Bids"]}
    assert said["north"] == ["the engine wasm has no network of type HTTP, a WASI program has no sockets"]
    assert said["south"] == ["this node takes no job with a network, this one asks for HTTP"]


async def test_a_job_knows_its_slot_and_how_many_there_are(fleet):
    job = container("echo $TENDER_PARTITION_INDEX of $BACALHAU_PARTITION_COUNT", Network={"Type": "None"})
    job_id = await fleet.hub.submit({**job, "Count": 3})
    await completed(fleet.hub, job_id)
    found = await executions(fleet.hub, job_id)
    assert sorted(one["RunOutput"]["Stdout"] for one in found) == ["0 of 3\n", "1 of 3\n", "2 of 3\n"]


async def test_domains_that_are_missing_are_asked_for_at_submission(fleet):
    body = {"Job": container("true", Network={"Type": "HTTP"})}
    refused = await fleet.hub.client.put("/api/v1/orchestrator/jobs", json=body)
    assert refused.status_code == 400
    assert "Tasks[0].Network.Domains" in refused.json()["Details"]
    assert "at least one domain is required" in refused.json()["Message"]
    assert "Domains: [example.com]" in refused.json()["Hint"]
