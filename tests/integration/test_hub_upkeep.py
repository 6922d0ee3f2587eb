"""Operators label, drain and rest nodes at the hub: jobs follow at once, the owner's word stays the owner's."""

import pytest

from tests.support.hub_bench import PLENTY, until
from tests.support.hub_process import wasm_job
from tests.support.promptly import at_once
from wire import messages as m
from wire.states import ExecutionState as E
from wire.states import NodeState
from wire.topics import Channel


def in_hall(name):
    return [{"Key": "hall", "Operator": "=", "Values": [name]}]


async def put(bench, path, body=None, status=200):
    answer = await bench.call("PUT", f"nodes/{path}", json=body or {})
    assert answer.status_code == status, answer.text
    return answer.json() if status != 200 else answer.json()["Node"]


def verbs(bench, node):
    return [
        address.item for address, _ in bench.link.said if (address.channel, address.owner) == (Channel.COMMAND, node.id)
    ]


def waiting(**fields):
    job = wasm_job(**fields)
    job["Tasks"][0]["Timeouts"] = {"QueueTimeout": 600}
    return job


async def test_a_label_that_an_operator_gives_starts_a_waiting_job_at_once(bench):
    north = await bench.node("north", labels={"zone": "eu"})
    asked: list[m.Invitation] = []
    north.on_invite = lambda invitation: asked.append(invitation) or north.bid(invitation)
    told = {}

    async def labelled(number: int) -> None:
        hall = {"hall": f"a{number}"}
        job_id = await bench.submit(waiting(Constraints=in_hall(hall["hall"])))
        told.setdefault("first", await put(bench, "north/labels", {"Labels": {"old": "x", **hall}}))
        assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"

    await at_once(labelled, within=1)
    assert (asked[0].labels, north.orders[0].labels) == ({"hall": "a0", "old": "x"},) * 2
    assert told["first"]["Info"]["Labels"] == {"zone": "eu", "hall": "a0", "old": "x"}
    assert told["first"]["Tender"]["OwnerLabels"] == {"zone": "eu"}
    await put(bench, "north/labels", {"Labels": {"hall": "a", "old": None}})
    await bench.restart()
    assert (await bench.get("nodes/north"))["Node"]["Tender"]["GivenLabels"] == {"hall": "a"}


async def test_the_owners_labels_stay_the_owners(bench):
    north = await bench.node("north", labels={"zone": "eu"})
    refused = await put(bench, "north/labels", {"Labels": {"zone": "us"}}, 409)
    assert "has set the label zone to 'eu'" in refused["Message"]
    await put(bench, "north/labels", {"Labels": {"hall": "a"}})
    caps = m.Capabilities(ep=1, name="north", labels={"hall": "b"}, total=PLENTY, per_job=PLENTY)
    await north.say(Channel.CAPS, caps)
    told = (await bench.get("nodes/north"))["Node"]
    assert (told["Info"]["Labels"], told["Tender"]["GivenLabels"]) == ({"hall": "b"}, {"hall": "a"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("labels", {}), ("labels", {"Labels": {"a b": "x"}}), ("labels", {"Labels": {"a": "x" * 64}}),
        ("labels", {"Labels": {"favour_a": "x"}}), ("labels", {"Labels": {f"k{n}": "v" for n in range(17)}}),
        ("labels", {"Labels": {"a": 1}}), ("drain", {"Deadline": "soon"}), ("drain", {"Until": "1h"}),
        ("maintenance", {"Duration": "9000d"}), ("maintenance", {"Duration": []}),
    ],
)  # fmt: skip
async def test_what_is_no_label_and_no_time_is_refused(bench, path, body):
    await bench.node("north")
    refused = await put(bench, f"north/{path}", body, 400)
    assert refused["Hint"]
    assert (await bench.get("nodes/north"))["Node"]["Tender"]["State"] == "online"
    await put(bench, "nobody/drain", {}, 404)


async def test_a_draining_node_gets_no_work_until_it_is_let_work_again(bench):
    north = await bench.node("north")
    told = await put(bench, "north/drain", {"Message": "new disk"})
    assert (told["Tender"]["State"], told["Tender"]["Why"], told["Connection"]) == ("draining", "new disk", "CONNECTED")
    job_id = await bench.submit(waiting())
    await bench.restart()
    await north.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.ONLINE, next=30))
    await until(lambda: verbs(bench, north) == ["drain"])
    await north.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.DRAINING, next=30))
    assert not north.orders
    await put(bench, "north/undrain")
    await until(lambda: verbs(bench, north) == ["drain", "undrain"])
    await north.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.ONLINE, next=30))
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    await put(bench, "north/undrain", {}, 409)


async def test_at_the_deadline_of_a_drain_its_work_goes_to_other_nodes(bench):
    north = await bench.node("north")
    north.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job(Type="service"))
    await until(lambda: north.orders)
    south = await bench.node("south")
    south.script = (E.ACCEPTED, E.RUNNING)
    await put(bench, "north/drain", {"Deadline": "100ms"})
    await until(lambda: any(item.verb == "stop" for want in north.wants for item in want.items))
    await north.report(north.orders[0].execution_id, E.CANCELLED)
    await until(lambda: south.orders)
    events = (await bench.get(f"jobs/{job_id}/history"))["Items"]
    assert "Stopped: node north is drained" in [event["Event"]["Message"] for event in events]
    assert (await bench.get("nodes/north"))["Node"]["Tender"]["State"] == "draining"


async def test_what_runs_everywhere_stays_on_a_drained_node(bench):
    north = await bench.node("north")
    north.script = (E.ACCEPTED, E.RUNNING)
    await bench.submit(wasm_job(Type="daemon"))
    await until(lambda: north.orders)
    await put(bench, "north/drain", {"Deadline": 0})
    await until(lambda: not (bench.hub.registry.nodes[north.id].upkeep.until))
    await until(lambda: north.wants)
    assert [item.verb for item in north.wants[-1].items] == ["run"]


async def test_a_node_in_maintenance_may_be_away_and_comes_back_by_itself(bench):
    north = await bench.node("north")
    await put(bench, "north/maintenance", {"Message": "moved to hall B"})
    await until(lambda: verbs(bench, north) == ["maintenance"])
    await north.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.OFFLINE, why="the link was lost"))
    told = (await bench.get("nodes/north"))["Node"]
    assert (told["Tender"]["State"], told["Tender"]["Why"]) == ("maintenance", "moved to hall B")
    assert told["Connection"] == "DISCONNECTED"
    await put(bench, "north/maintenance", {"Duration": "50ms"})
    await until(lambda: verbs(bench, north)[-1] == "undrain")
    assert (await bench.get("nodes/north"))["Node"]["Tender"]["State"] == "offline"


async def test_a_window_that_ended_while_the_hub_was_away_is_over_when_it_is_back(bench):
    north = await bench.node("north")
    await put(bench, "north/maintenance", {"Duration": "1h"})
    await bench.hub.database.write(lambda c: c.execute("UPDATE node_upkeep SET until = 1") and None)
    await bench.restart()
    await until(lambda: bench.hub.registry.nodes[north.id].upkeep.mode is NodeState.ONLINE)
    await north.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.MAINTENANCE, next=30))
    await until(lambda: verbs(bench, north)[-1:] == ["undrain"])
