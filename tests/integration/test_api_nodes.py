"""The API of nodes, of the hub itself, and of boxes that join: shapes, decisions, refusals, headers, OpenAPI."""

import json

import msgspec
import pytest

from hub.api.rules import RULES, shape
from tests.support.enrolment import Applicant
from tests.support.hub_bench import PLENTY
from wire import messages as m
from wire.resources import Resources
from wire.states import Membership, NodeState
from wire.topics import Channel


async def names(bench, **query):
    return [node["Tender"]["Name"] for node in (await bench.get("nodes", **query))["Nodes"]]


async def test_nodes_are_filtered_and_ordered(bench):
    small = Resources(cpu=1, memory=10**9, disk=10**9)
    await bench.node("b", labels={"zone": "eu", "ram": "8"}, total=small)
    gone = await bench.node("a", labels={"zone": "us"})
    await bench.node("c", Membership.PENDING)
    await gone.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.OFFLINE))
    for query, wanted in (
        ({}, ["a", "b", "c"]),
        ({"reverse": "true"}, ["c", "b", "a"]),
        ({"limit": "2"}, ["a", "b"]),
        ({"filter-status": "connected"}, ["b", "c"]),
        ({"filter-status": "DISCONNECTED"}, ["a"]),
        ({"filter-approval": "pending"}, ["c"]),
        ({"labels": "zone=eu"}, ["b"]),
        ({"labels": "zone!=eu"}, ["a", "c"]),
        ({"labels": "zone,ram>4"}, ["b"]),
        ({"order_by": "available_memory", "limit": "1"}, ["b"]),
    ):
        assert await names(bench, **query) == wanted, query


async def test_a_node_tells_capacity_presence_and_age(bench):
    node = await bench.node("north", labels={"zone": "eu"})
    for name in (node.id, node.id[:12], "north"):
        told = (await bench.get(f"nodes/{name}"))["Node"]
        assert told["Info"]["NodeID"] == node.id
    compute = told["Info"]["ComputeNodeInfo"]
    assert compute["MaxCapacity"] == compute["AvailableCapacity"]
    assert (told["Membership"], told["Connection"]) == ("APPROVED", "CONNECTED")
    assert told["Tender"]["AgeSeconds"] < 60
    assert told["Info"]["Labels"] == {"zone": "eu"}


async def test_an_unknown_or_unclear_node_is_said(bench):
    await bench.node("north")
    await bench.node("south")
    assert "node not found: west" in (await bench.call("GET", "nodes/west")).json()["Message"]
    assert (await bench.call("GET", "nodes/n-")).status_code == 409
    assert (await bench.call("PUT", "nodes/west", json={"Action": "approve"})).status_code == 404


async def test_a_node_is_approved_rejected_and_deleted(bench):
    node = await bench.node("north", Membership.PENDING)

    async def decide(action, status=200):
        answer = await bench.call("PUT", f"nodes/{node.id}", json={"Action": action, "Message": "because " * 100})
        assert answer.status_code == status, answer.text
        return answer.json()

    assert await decide("approve") == {"Success": True, "Error": ""}
    assert "already approved" in (await decide("approve", 409))["Message"]
    await decide("reject")
    told = (await bench.get(f"nodes/{node.id}"))["Node"]
    assert told["Membership"] == "REJECTED"
    assert len(told["Tender"]["Why"]) == 500
    await node.say(Channel.STATE, m.NodeStatus(ep=2, state=NodeState.ONLINE))
    assert bench.hub.inbox.refused["unknown-node"] == 1
    await decide("delete")
    await decide("delete", 404)
    await bench.restart()
    assert await names(bench) == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"Action": 7}', b'{"Action": "promote"}', b"{", b"\xff"])
async def test_a_decision_that_is_none_is_refused(bench, body):
    await bench.node("north")
    answer = await bench.call("PUT", "nodes/north", content=body)
    assert answer.status_code == 400, answer.text
    big = await bench.call("PUT", "nodes/north", content=b'{"Action": "approve", "Message": "' + b"x" * 70_000 + b'"}')
    assert big.status_code == 413


async def test_tokens_are_made_with_their_life_and_approval(bench):
    for body in (b"", b"{}", b'{"Life": 60, "Approve": true}'):
        answer = await bench.call("POST", "nodes/token", content=body)
        assert answer.json()["Token"].startswith("tender1.")
    for body in (b'{"Life": 0}', b'{"Life": 1e300}', b'{"Life": "x"}', b"[]", b"{"):
        assert (await bench.call("POST", "nodes/token", content=body)).status_code == 400


async def test_a_box_joins_renews_and_is_refused(bench):
    token = (await bench.call("POST", "nodes/token", content=b'{"Approve": true}')).json()["Token"]
    applicant = Applicant()
    reply = await bench.call("POST", "/api/v1/agent/enrol", content=msgspec.json.encode(applicant.asks(token)))
    assert reply.json()["membership"] == "approved"
    assert (
        await bench.call("POST", "/api/v1/agent/renew", content=msgspec.json.encode(applicant.renews()))
    ).status_code == 200
    stranger = Applicant("n-0b0b0b0b-0000-4000-8000-00000000000b")
    again = await bench.call("POST", "/api/v1/agent/enrol", content=msgspec.json.encode(stranger.asks(token)))
    assert (again.status_code, again.json()["Code"]) == (401, "Unauthorized")
    unknown = await bench.call("POST", "/api/v1/agent/renew", content=msgspec.json.encode(stranger.renews()))
    assert unknown.status_code == 401
    await bench.call("PUT", f"nodes/{applicant.node_id}", json={"Action": "reject"})
    refused = await bench.call("POST", "/api/v1/agent/renew", content=msgspec.json.encode(applicant.renews()))
    assert (refused.status_code, refused.json()["Code"]) == (403, "Forbidden")
    for path in ("enrol", "renew"):
        assert (await bench.call("POST", f"/api/v1/agent/{path}", content=b"{}")).status_code == 400
        assert (await bench.call("POST", f"/api/v1/agent/{path}", content=b" " * 20_000)).status_code == 413


async def test_a_deleted_box_needs_a_new_token(bench):
    token = (await bench.call("POST", "nodes/token", content=b'{"Approve": true}')).json()["Token"]
    body = msgspec.json.encode(Applicant().asks(token))
    for _ in range(2):
        assert (await bench.call("POST", "/api/v1/agent/enrol", content=body)).status_code == 200
    await bench.call("PUT", f"nodes/{Applicant().node_id}", json={"Action": "delete"})
    refused = await bench.call("POST", "/api/v1/agent/enrol", content=body)
    assert (refused.status_code, await names(bench)) == (401, [])
    fresh = (await bench.call("POST", "nodes/token", content=b"")).json()["Token"]
    again = await bench.call("POST", "/api/v1/agent/enrol", content=msgspec.json.encode(Applicant().asks(fresh)))
    assert again.json()["membership"] == "pending"


async def test_a_box_that_joins_again_is_known_by_its_new_name(bench):
    for name in ("old-name", "new-name"):
        token = (await bench.call("POST", "nodes/token", content=b"")).json()["Token"]
        body = msgspec.json.encode(Applicant().asks(token, name))
        assert (await bench.call("POST", "/api/v1/agent/enrol", content=body)).status_code == 200
        assert await names(bench) == [name]
    await bench.restart()
    assert await names(bench) == ["new-name"]


async def test_a_name_that_would_break_a_log_line_is_not_taken(bench):
    node = await bench.node("north")
    for name in ("[red]x", "a\nb", "\x1b[2J", "x" * 200, ""):
        await node.say(Channel.CAPS, m.Capabilities(ep=1, name=name, total=PLENTY))
        assert await names(bench) == ["north"]
    await node.say(Channel.CAPS, m.Capabilities(ep=1, name="south", total=PLENTY))
    await bench.restart()
    assert await names(bench) == ["south"]


async def test_the_hub_says_that_it_lives_its_level_and_who_it_is(bench):
    assert (await bench.get("/api/v1/agent/alive")) == {"Status": "OK"}
    assert (await bench.get("/api/v1/agent/version"))["GitVersion"] == "v1.9.3"
    told = await bench.get("/api/v1/agent/node")
    assert (told["NodeID"], told["NodeType"]) == ("hub", "Requester")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/bogus"), ("GET", "/api/v1/orchestrator/bogus"), ("PATCH", "/api/v1/orchestrator/jobs"),
        ("DELETE", "/api/v1/orchestrator/jobs"), ("GET", "/api/v1/orchestrator/results/x"),
        ("GET", "/api/v1/orchestrator/results/e-1.tar.gz"), ("GET", "/api/v1/orchestrator/results/..%2f..%2fhub.db"),
        ("GET", "/api/v1/orchestrator/results/%2e%2e.tar.gz"), ("PUT", "/api/v1/agent/alive"),
    ],
)  # fmt: skip
async def test_what_is_not_part_of_the_api_is_not_found_in_the_same_shape(bench, method, path):
    answer = await bench.call(method, path)
    assert answer.status_code == 404
    assert answer.json()["Code"] == "NotFound"


async def test_every_answer_carries_the_headers_that_clients_read(bench):
    ids = set()
    for path in ("/api/v1/agent/alive", "/api/v1/orchestrator/jobs", "/nothing"):
        answer = await bench.call("GET", path)
        assert answer.headers["x-bacalhau-git-version"] == "v1.9.3"
        ids.add(answer.headers["x-request-id"])
        assert "access-control-allow-origin" not in answer.headers
    assert len(ids) == 3


HIDDEN = {("GET", ""), ("GET", "/version"), ("GET", "/livez"), ("GET", "/api/v1/orchestrator/jobs/{}/logs")}


async def test_the_openapi_page_lists_every_route(bench):
    assert "<html" in (await bench.call("GET", "/schema")).text.lower()
    document = json.loads((await bench.call("GET", "/schema/openapi.json")).text)
    shown = {(method.upper(), shape(path)) for path, on in document["paths"].items() for method in on}
    assert shown == set(RULES) - HIDDEN
