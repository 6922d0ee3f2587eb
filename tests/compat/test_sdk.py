"""Bacalhau's Python SDK, as it is on PyPI, drives the hub: every call that it has."""

import json

import httpx
import pytest
from bacalhau_apiclient.api.ops_api import OpsApi
from bacalhau_apiclient.api.orchestrator_api import OrchestratorApi
from bacalhau_apiclient.models.api_put_job_request import ApiPutJobRequest
from bacalhau_apiclient.models.input_source import InputSource
from bacalhau_apiclient.models.job import Job
from bacalhau_apiclient.models.label_selector_requirement import LabelSelectorRequirement
from bacalhau_apiclient.models.network_config import NetworkConfig
from bacalhau_apiclient.models.resources_config import ResourcesConfig
from bacalhau_apiclient.models.result_path import ResultPath
from bacalhau_apiclient.models.spec_config import SpecConfig
from bacalhau_apiclient.models.task import Task
from bacalhau_apiclient.models.timeout_config import TimeoutConfig
from bacalhau_apiclient.rest import ApiException

from tests.support.bacalhau import sdk as bacalhau_sdk
from tests.support.hub_bench import hub_bench, until
from tests.support.served import served
from wire.states import ExecutionState

MODULE = "data:application/wasm;base64,AGFzbQEAAAA="


def request(name="from-the-sdk", task=None, **job):
    """A job as the SDK's own examples build one."""
    fields = {
        "name": "main",
        "engine": SpecConfig(type="wasm", params={"EntryModule": "m", "EntryPoint": "_start", "Parameters": ["x"]}),
        "publisher": SpecConfig(type="local", params={}),
        "input_sources": [InputSource(source=SpecConfig(type="inline", params={"URL": MODULE}), target="m")],
    }
    return ApiPutJobRequest(
        job=Job(**{"name": name, "type": "batch", "count": 1, "tasks": [Task(**fields | (task or {}))]} | job)
    )


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        yield running


@pytest.fixture
async def sdk(bench, tmp_path, monkeypatch):
    async with served(bench) as url, bacalhau_sdk(url, tmp_path / "bacalhau", monkeypatch) as made:
        yield made


async def done(bench, sdk, **fields):
    """A job that the SDK put and that is over."""
    put = await sdk(sdk.jobs.put, request(**fields))
    await bench.finished(put.job_id)
    return put.job_id


async def test_put_and_get_give_the_job_back(bench, sdk):
    await bench.node("north")
    put = await sdk(sdk.jobs.put, request())
    assert put.job_id.startswith("j-")
    assert put.evaluation_id
    assert put.warnings is None
    await bench.finished(put.job_id)
    job = (await sdk(sdk.jobs.get, put.job_id)).job
    assert (job.id, job.name, job.namespace, job.type, job.count) == (put.job_id, "from-the-sdk", "default", "batch", 1)
    assert job.state.state_type == "Completed"
    assert (job.version, job.priority) == (1, 0)
    assert 0 < job.create_time <= job.modify_time
    (task,) = job.tasks
    assert task.engine.params["EntryModule"] == "m"
    assert task.resources.cpu == "500m"
    assert task.network.type == "Default"


async def test_every_field_of_a_job_that_the_sdk_has_is_kept(bench, sdk):
    put = await sdk(
        sdk.jobs.put,
        request(
            namespace="lab",
            priority=7,
            labels={"team": "red"},
            meta={"note": "n"},
            constraints=[LabelSelectorRequirement(key="region", operator="in", values=["eu", "us"])],
            task={
                "engine": SpecConfig(type="docker", params={"Image": "busybox:1", "Parameters": ["true"]}),
                "input_sources": [],
                "env": {"WORD": "yes"},
                "meta": {"of": "task"},
                "network": NetworkConfig(type="HTTP", domains=["example.com"]),
                "resources": ResourcesConfig(cpu="100m", memory="64mb", disk="1GB", gpu="1"),
                "result_paths": [ResultPath(name="out", path="/out")],
                "timeouts": TimeoutConfig(execution_timeout=30, queue_timeout=60),
            },
        ),
    )
    job = (await sdk(sdk.jobs.get, put.job_id)).job
    assert (job.namespace, job.priority, job.labels) == ("lab", 7, {"team": "red"})
    assert job.meta["note"] == "n"
    (constraint,) = job.constraints
    assert (constraint.key, constraint.operator, constraint.values) == ("region", "in", ["eu", "us"])
    (task,) = job.tasks
    assert (task.env, task.meta) == ({"WORD": "yes"}, {"of": "task"})
    assert (task.network.type, task.network.domains) == ("HTTP", ["example.com"])
    assert (task.resources.cpu, task.resources.memory, task.resources.gpu) == ("100m", "64mb", "1")
    assert (task.result_paths[0].name, task.result_paths[0].path) == ("out", "/out")
    assert (task.timeouts.execution_timeout, task.timeouts.queue_timeout) == (30, 60)


async def test_get_includes_executions_and_history(bench, sdk):
    await bench.node("north")
    job_id = await done(bench, sdk)
    whole = await sdk(sdk.jobs.get, job_id, include="executions,history")
    assert len(whole.executions.items) == 1
    assert whole.history.items[0].event.message == "Job submitted"
    bare = await sdk(sdk.jobs.get, job_id)
    assert bare.executions is None
    assert bare.history is None


async def test_executions_have_numbers_for_states_and_what_was_printed(bench, sdk):
    node = await bench.node("north")
    job_id = await done(bench, sdk)
    (one,) = (await sdk(sdk.jobs.executions, job_id)).items
    assert (one.job_id, one.node_id, one.namespace) == (job_id, node.id, "default")
    assert one.job.id == job_id
    raw = (await bench.get(f"jobs/{job_id}/executions"))["Items"][0]
    assert (raw["ComputeState"]["StateType"], raw["DesiredState"]["StateType"]) == (9, 2)
    assert one.run_output.exit_code == -1
    assert one.revision > 0


async def test_executions_come_in_pages_and_orders(bench, sdk):
    await bench.node("north")
    job_id = await done(bench, sdk, count=3)
    first = await sdk(sdk.jobs.executions, job_id, limit=2, order_by="created_at")
    rest = await sdk(sdk.jobs.executions, job_id, limit=2, next_token=first.next_token)
    assert (len(first.items), len(rest.items), rest.next_token) == (2, 1, "")
    backwards = await sdk(sdk.jobs.executions, job_id, reverse=True, order_by="created_at")
    assert [one.id for one in backwards.items] == [one.id for one in (*first.items, *rest.items)][::-1]


async def test_history_by_kind_and_execution(bench, sdk):
    await bench.node("north")
    job_id = await done(bench, sdk)
    works = await sdk(sdk.jobs.history, job_id)
    assert works.next_token == ""
    x = works.items[0].execution_id
    assert {one.execution_id for one in works.items} == {x}
    every = await sdk(sdk.jobs.history, job_id, event_type="all")
    assert every.items[-1].event.message == "Completed"
    assert every.items[0].event.topic == "Submission"
    assert every.items[0].event.timestamp.endswith("Z")
    assert len((await sdk(sdk.jobs.history, job_id, execution_id=x)).items) == len(works.items)
    assert (await sdk(sdk.jobs.history, job_id, event_type="job")).items[0].execution_id is None


async def test_results_name_a_place_to_download_from(bench, sdk):
    node = await bench.node("north")
    node.keeps({"stdout": b"hello\n", "exitCode": b"0"})
    job_id = await done(bench, sdk)
    (item,) = (await sdk(sdk.jobs.results, job_id)).items
    assert item.type == "urlDownload"
    assert item.params["URL"].endswith(f"/{node.orders[0].execution_id}.tar.gz")
    async with httpx.AsyncClient() as plain:
        assert (await plain.get(item.params["URL"])).status_code == 200


async def test_list_comes_in_pages(bench, sdk):
    for number in range(5):
        await sdk(sdk.jobs.put, request(name=f"job-{number}"))
    found, token = [], ""
    while True:
        page = await sdk(sdk.jobs.list, limit=2, next_token=token)
        found += [job.name for job in page.items]
        token = page.next_token
        if not token:
            break
    assert found == [f"job-{number}" for number in range(5)]
    assert [job.name for job in (await sdk(sdk.jobs.list, limit=1, reverse=True)).items] == ["job-4"]


async def test_stop_ends_a_job_with_its_reason(bench, sdk):
    node = await bench.node("north")
    node.script = (ExecutionState.ACCEPTED, ExecutionState.RUNNING)
    put = await sdk(sdk.jobs.put, request())
    await until(lambda: node.orders)
    assert (await sdk(sdk.jobs.stop, put.job_id, reason="enough")).evaluation_id
    await node.report(node.orders[0].execution_id, ExecutionState.CANCELLED)
    job = await bench.finished(put.job_id)
    assert job["State"] == {"StateType": "Stopped", "Message": "enough"}
    assert (await sdk(sdk.jobs.stop, put.job_id, reason="again")).evaluation_id == ""


async def test_a_stop_right_after_a_put_ends_the_job(bench, sdk):
    await bench.node("north")
    put = await sdk(sdk.jobs.put, request(constraints=[LabelSelectorRequirement(key="x", operator="exists")]))
    await sdk(sdk.jobs.stop, put.job_id)
    assert (await bench.finished(put.job_id))["State"]["StateType"] in {"Stopped", "Failed"}


async def test_what_is_wrong_reaches_the_caller_with_message_and_field(bench, sdk, capsys):
    bad = request(task={"env": {"BACALHAU_X": "1"}})
    assert await sdk(sdk.jobs.put, bad) is None
    assert "cannot start with BACALHAU_" in capsys.readouterr().out
    client = sdk.api(OrchestratorApi)
    for call, args, status, words in (
        (client.orchestratorput_job, [bad], 400, "environment variable 'BACALHAU_X' cannot start with BACALHAU_"),
        (client.orchestratorget_job, ["no-such-job"], 404, "job not found: no-such-job"),
        (client.orchestratorstop_job, ["no-such-job"], 404, "job not found: no-such-job"),
        (client.orchestratorjob_results, ["no-such-job"], 404, "job not found: no-such-job"),
        (client.orchestratorget_node, ["no-such-node"], 404, "node not found: no-such-node"),
    ):
        with pytest.raises(ApiException) as caught:
            await sdk(call, *args)
        assert caught.value.status == status
        assert words in caught.value.body.decode()


async def test_nodes_answer_in_bacalhaus_spelling_which_the_sdk_does_not_read(bench, sdk):
    node = await bench.node("north")
    client = sdk.api(OrchestratorApi)
    assert (await sdk(client.orchestratorget_node, node.id)).node is None
    (shown,) = (await bench.get("nodes"))["Nodes"]
    state = client.api_client.deserialize(Answer(shown), "NodeState")
    assert state.info.node_id == node.id
    assert state.info.compute_node_info.execution_engines == ["wasm"]
    assert state.info.bacalhau_version.git_version == "v1.9.3"


class Answer:
    """What the SDK's decoder takes."""

    def __init__(self, value):
        self.data = json.dumps(value)


async def test_the_hub_tells_of_itself(bench, sdk):
    await bench.node("north")
    client = sdk.api(OpsApi)
    await sdk(client.agentalive)
    assert (await sdk(client.agentversion)).git_version == "v1.9.3"
    told = await sdk(client.agentnode)
    assert (told.node_id, told.bacalhau_version.git_version) == ("hub", "v1.9.3")
    await sdk(client.agentdebug)
