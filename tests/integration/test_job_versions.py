"""Versions of a job over the API: diff, rerun, rollouts with health gate and roll-back, types that stay."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from tests.support.hub_bench import HubBench, hub_bench, until
from tests.support.hub_process import wasm_job
from tests.support.promptly import at_once
from wire import messages as m
from wire.failures import Reason
from wire.states import ExecutionState as E
from wire.states import NodeState
from wire.topics import Channel

UP = (E.ACCEPTED, E.RUNNING)
FAST = {"MinHealthyTime": "50ms", "HealthyDeadline": "100s"}


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path) as running:
        for name in ("north", "south"):
            (await running.node(name)).script = UP
        yield running


def service(word: str = "a", **fields: Any) -> dict[str, Any]:
    """A service whose work changes with `word`."""
    task = {**wasm_job()["Tasks"][0], "Env": {"WORD": word}}
    retry = {"Attempts": 2, "Delay": "10ms", "MaxDelay": "20ms"}
    return wasm_job(**({"Type": "service", "Name": "web", "Tasks": [task], "Update": FAST, "Retry": retry} | fields))


async def alive(bench: HubBench, job_id: str) -> list[dict[str, Any]]:
    found = (await bench.get(f"jobs/{job_id}/executions", all_job_versions="true"))["Items"]
    return [one for one in found if one["Tender"]["State"] == "running"]


async def eventually(condition: Any, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def rolled_out(bench: HubBench, job_id: str, version: int, state: str = "successful") -> dict[str, Any]:
    async def done() -> bool:
        return (await bench.get(f"jobs/{job_id}/rollout", job_version=version))["State"] == state

    await eventually(done)
    return await bench.get(f"jobs/{job_id}/rollout", job_version=version)


def obedient(bench: HubBench) -> None:
    """Nodes end what the hub wants stopped, as agents do."""
    for node in bench.nodes.values():
        hear = node.hear

        async def hears(address: Any, message: m.Message, *, node: Any = node, hear: Any = hear) -> None:
            await hear(address, message)
            for item in message.items if isinstance(message, m.Want) else []:
                if item.verb == "stop" and item.id in node.versions and item.id not in ended:
                    ended.add(item.id)
                    await node.report(item.id, E.CANCELLED, reason=Reason("cancelled", "the hub stopped it"))

        node.hear = hears


ended: set[str] = set()


async def test_an_update_replaces_slot_by_slot_and_then_is_stable(bench):
    obedient(bench)
    job_id = await bench.submit(service(Count=3))
    await rolled_out(bench, job_id, 1)
    assert await bench.submit(service("b", Count=3)) == job_id
    await rolled_out(bench, job_id, 2)
    live = await alive(bench, job_id)
    assert Counter(one["JobVersion"] for one in live) == {2: 3}
    assert sorted(one["PartitionIndex"] for one in live) == [0, 1, 2]
    events = (await bench.get(f"jobs/{job_id}/history", all_job_versions="true"))["Items"]
    assert "Version 2 was rolled out: 3 of 3 healthy" in [one["Event"]["Message"] for one in events]


async def test_an_update_that_fails_is_rolled_back_and_the_rest_never_stopped(bench):
    obedient(bench)
    update = {**FAST, "AutoRevert": True}
    job_id = await bench.submit(service(Count=2, Update=update))
    await rolled_out(bench, job_id, 1)
    first = {one["ID"] for one in await alive(bench, job_id)}
    for node in bench.nodes.values():
        node.script = (E.ACCEPTED, E.RUNNING, E.FAILED)
    # what fails right after its start is never healthy, however late its failure is heard
    await bench.submit(service("bad", Count=2, Update={**update, "MinHealthyTime": "90s"}))
    failed = await rolled_out(bench, job_id, 2, "failed")
    assert "2 executions in one place ended" in failed["Message"]
    for node in bench.nodes.values():
        node.script = UP
    await rolled_out(bench, job_id, 3)
    live = await alive(bench, job_id)
    assert len(live) == 2
    assert len(first & {one["ID"] for one in live}) == 1
    job = (await bench.get(f"jobs/{job_id}"))["Job"]
    assert (job["Version"], job["Tasks"][0]["Env"]["WORD"]) == (3, "a")
    events = (await bench.get(f"jobs/{job_id}/history", job_version=3))["Items"]
    assert events[0]["Event"]["Message"].startswith("Rolled back to version 1, because version 2 failed")


async def test_scaling_a_service_touches_only_what_is_new_or_gone(bench):
    obedient(bench)
    job_id = await bench.submit(service(Count=2))
    await rolled_out(bench, job_id, 1)
    first = {one["ID"] for one in await alive(bench, job_id)}
    await bench.submit(service(Count=3))
    await rolled_out(bench, job_id, 2)
    assert first < {one["ID"] for one in await alive(bench, job_id)}
    await bench.submit(service(Count=0))

    async def none() -> bool:
        return not await alive(bench, job_id)

    await eventually(none)
    job = (await bench.get(f"jobs/{job_id}"))["Job"]
    assert job["State"]["StateType"] == "Running"


async def test_a_hub_that_restarts_during_a_rollout_goes_on_with_it(bench):
    obedient(bench)
    job_id = await bench.submit(service(Count=2))
    await rolled_out(bench, job_id, 1)
    await bench.submit(service("b", Count=2))
    await bench.restart()
    obedient(bench)
    await rolled_out(bench, job_id, 2)
    assert Counter(one["JobVersion"] for one in await alive(bench, job_id)) == {2: 2}


async def test_a_daemon_starts_on_a_node_that_joins_and_again_where_it_ended(bench):
    job_id = await bench.submit(service(Type="daemon"))
    await until(lambda: all(len(node.orders) == 1 for node in bench.nodes.values()))
    late = await bench.node("late")
    late.script = UP
    await until(lambda: len(late.orders) == 1)
    await late.report(late.orders[0].execution_id, E.FAILED, reason=Reason("exit", "exit code 1"))
    await until(lambda: len(late.orders) == 2)

    async def three() -> bool:
        return len(await alive(bench, job_id)) == 3

    await eventually(three)


async def test_a_service_that_ends_is_started_again_in_its_place(bench):
    await bench.submit(service())
    (node,) = await until(lambda: [node for node in bench.nodes.values() if node.orders])
    await node.report(node.orders[0].execution_id, E.COMPLETED)
    await until(lambda: len(node.orders) == 2)
    assert [order.slot for order in node.orders] == [0, 0]


async def test_a_label_change_starts_a_waiting_job_at_once(bench):
    north = bench.nodes["north"]
    caps = bench.hub.registry.nodes[north.id].caps
    assert caps is not None
    task = {**wasm_job()["Tasks"][0], "Timeouts": {"QueueTimeout": 60}}

    async def labelled(number: int) -> None:
        wanted = [{"Key": "region", "Operator": "=", "Values": [f"eu-{number}"]}]
        await bench.submit(wasm_job(Constraints=wanted, Tasks=[task]))
        await north.say(Channel.CAPS, msgspec.structs.replace(caps, labels={"region": f"eu-{number}"}))
        await until(lambda: len(north.orders) > number)

    await at_once(labelled, within=2)


async def test_a_node_that_declined_is_asked_at_once_when_it_changed(bench):
    await bench.nodes["south"].say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.OFFLINE))
    north = bench.nodes["north"]
    north.on_invite = north.decline
    task = {**wasm_job()["Tasks"][0], "Timeouts": {"QueueTimeout": 60}}
    job_id = await bench.submit(wasm_job(Tasks=[task]))
    await eventually(lambda: _tenders(bench, job_id))
    north.on_invite = north.bid
    caps = bench.hub.registry.nodes[north.id].caps
    assert caps is not None
    await north.say(Channel.CAPS, msgspec.structs.replace(caps, labels={"power": "mains"}))
    await until(lambda: north.orders)


async def _tenders(bench: HubBench, job_id: str) -> bool:
    tenders = (await bench.get(f"jobs/{job_id}/why"))["Tenders"]
    return any(one["State"] == "failed" for one in tenders)


# --- versions over the API ----------------------------------------------------------------------------


async def test_a_job_may_run_again_in_any_of_its_versions(bench):
    for node in bench.nodes.values():
        node.script = (E.ACCEPTED, E.COMPLETED)
    job = service(Type="batch", Update=None)
    job_id = await bench.submit(job)
    await bench.finished(job_id)
    await bench.submit(service("b", Type="batch", Update=None))
    await bench.finished(job_id)
    answer = await bench.call("PUT", f"jobs/{job_id}/rerun", json={"JobVersion": 1, "Reason": "once more"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["JobVersion"] == 3
    assert (await bench.finished(job_id))["Tasks"][0]["Env"]["WORD"] == "a"
    found = (await bench.get("jobs/web/versions"))["Items"]
    assert [(one["Version"], one["Tasks"][0]["Env"]["WORD"]) for one in found] == [(1, "a"), (2, "b"), (3, "a")]
    made = [one["ModifyTime"] for one in found]
    assert made[0] == found[0]["CreateTime"] < made[1] < made[2]
    events = (await bench.get(f"jobs/{job_id}/history", job_version=3))["Items"]
    assert events[0]["Event"]["Message"] == "Job rerun requested"
    assert events[0]["Event"]["Details"] == {"Reason": "once more", "FromVersion": "1"}


@pytest.mark.parametrize(
    ("name", "body", "status", "message"),
    [
        ("no-such-job", {}, 404, "job not found: no-such-job"),
        ("web", {"JobVersion": 7}, 404, "has no version 7"),
        ("web", {"JobVersion": -1}, 400, "$.JobVersion"),
        ("web", {"JobVersion": "two"}, 400, "$.JobVersion"),
        ("waits", {}, 409, "cannot rerun job in state Pending"),
    ],
)
async def test_a_rerun_that_cannot_be_is_refused(bench, name, body, status, message):
    await bench.submit(service())
    await until(lambda: any(node.orders for node in bench.nodes.values()))
    for node in bench.nodes.values():
        node.on_invite = lambda _: None
    await bench.submit(wasm_job(Name="waits"))
    answer = await bench.call("PUT", f"jobs/{name}/rerun", json=body)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["Message"]


async def test_a_rerun_of_a_service_starts_its_work_anew(bench):
    obedient(bench)
    job_id = await bench.submit(service())
    await rolled_out(bench, job_id, 1)
    (before,) = await alive(bench, job_id)
    await bench.call("PUT", f"jobs/{job_id}/rerun", json={})
    await rolled_out(bench, job_id, 2)
    (after,) = await alive(bench, job_id)
    assert after["ID"] != before["ID"]


async def test_a_diff_shows_what_would_change_and_stores_nothing(bench):
    job_id = await bench.submit(service())
    answer = (await bench.call("PUT", "jobs/diff", json={"Job": service("b", Priority=3)})).json()
    assert '-        "WORD": "a"' in answer["Diff"].splitlines()
    assert '+        "WORD": "b"' in answer["Diff"].splitlines()
    assert '+  "Priority": 3,' in answer["Diff"].splitlines()
    assert (await bench.get(f"jobs/{job_id}"))["Job"]["Version"] == 1
    same = service()
    same["Tasks"][0]["Resources"] = {"Memory": "512MB"}
    assert (await bench.call("PUT", "jobs/diff", json={"Job": same})).json()["Diff"] == ""


async def test_a_diff_with_an_unknown_name_says_so(bench):
    answer = await bench.call("PUT", "jobs/diff", json={"Job": service(Name="nobody")})
    assert answer.status_code == 404
    assert answer.json()["Message"] == "job name index not found: nobody:default"


async def test_the_same_again_is_refused_without_force(bench):
    obedient(bench)
    job_id = await bench.submit(service())
    again = await bench.call("PUT", "jobs", json={"Job": service()})
    assert again.status_code == 409
    assert "no changes detected" in again.json()["Message"]
    assert await bench.submit(service(), Force=True) == job_id
    assert (await bench.get(f"jobs/{job_id}"))["Job"]["Version"] == 2
