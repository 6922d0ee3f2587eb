"""Commands on nodes and auctions: what they send and print."""

import json

import pytest

from tests.support.hub_stub import JOB_ID, JOBS, NODES, execution, hub_stub_fixture, tender_fixture

FIXTURES = (hub_stub_fixture, tender_fixture)
NODE = {
    "Info": {
        "NodeID": "n-12345678-aaaa",
        "Labels": {"region": "north"},
        "ComputeNodeInfo": {
            "ExecutionEngines": ["wasm"],
            "MaxCapacity": {"CPU": 2, "Memory": 2_000_000_000},
            "AvailableCapacity": {"CPU": 1.5, "Memory": 1_000_000_000},
            "RunningExecutions": 1,
        },
    },
    "Membership": "APPROVED",
    "Connection": "CONNECTED",
    "Tender": {"Name": "north", "State": "online", "AgeSeconds": 3.4},
}
WHY = {
    "JobID": JOB_ID,
    "State": "completed",
    "Message": "",
    "Tenders": [
        {
            "Slot": 0,
            "Attempt": 1,
            "Direct": False,
            "State": "awarded",
            "Milliseconds": 12.6,
            "Bids": [
                {"NodeName": "north", "Outcome": "won", "Score": 80, "Rank": 140, "AnsweredMilliseconds": 5.0},
                {
                    "NodeName": "ridge",
                    "Outcome": "declined",
                    "AnsweredMilliseconds": 6.0,
                    "Reasons": [
                        {"Code": "hook-said-no", "Message": "battery at 12 %", "Hint": "charge it"},
                        {"Code": "memory", "Message": "needs 4 GB", "Hint": ""},
                    ],
                },
                {"NodeName": "valley", "Outcome": "silent"},
            ],
        }
    ],
}


def test_node_list_shows_what_is_free_and_sends_the_filters(hub_stub, tender):
    hub_stub.answer("GET", NODES, {"NextToken": "", "Nodes": [NODE]})
    ran = tender("node", "list", "--filter-status", "connected", "-l", "region=north")
    for part in ("n-12345678", "north", "approved", "online", "3 s ago", "1.5/2", "1.0/2.0 GB"):
        assert part in ran.out
    assert hub_stub.last("GET").query == {"labels": ["region=north"], "filter-status": ["connected"]}


def test_node_list_fits_100_columns_and_wide_shows_all_labels(hub_stub, tender):
    labels = {"os_type": "linux", "os_arch": "arm64", "name": "gateway-07", "region": "mountain", "tier": "gateway"}
    info = {**NODE["Info"], "Labels": labels}
    info["ComputeNodeInfo"] = {**info["ComputeNodeInfo"], "ExecutionEngines": ["podman", "wasm"]}
    own = {"Name": "gateway-07", "State": "online", "AgeSeconds": 7300}
    hub_stub.answer("GET", NODES, {"Nodes": [{**NODE, "Info": info, "Tender": own}]})
    narrow = tender("node", "list").out
    assert max(map(len, narrow.splitlines())) <= 100
    assert "2 h ago" in narrow
    assert "os_arch" not in narrow
    assert "os_arch=arm64" in tender("node", "list", "--wide").out


def test_node_list_says_how_long_a_node_still_sleeps(hub_stub, tender):
    own = {"Name": "buoy", "State": "sleeping", "AgeSeconds": 1200, "BackInSeconds": 2400}
    hub_stub.answer("GET", NODES, {"Nodes": [{**NODE, "Tender": own}]})
    out = tender("node", "list").out
    assert "sleeping" in out
    assert "40 min more" in out


def test_long_messages_of_executions_stand_below_once(hub_stub, tender):
    told = "cannot pull docker.io/library/busybox:1.36: no such host"
    failed = [
        execution(ID=f"e-{n}2345678-x", ComputeState={"StateType": 10, "Message": told}, Tender={"State": "failed"})
        for n in (1, 2)
    ]
    hub_stub.answer("GET", f"{JOBS}/weather/executions", {"Items": failed})
    out = tender("job", "executions", "weather").out
    assert out.count(told) == 1
    assert f"e-12345678, e-22345678: {told}" in out


def test_node_describe_prints_one_document(hub_stub, tender):
    hub_stub.answer("GET", f"{NODES}/north", {"Node": NODE})
    assert json.loads(tender("node", "describe", "north", "--output", "json").out) == NODE


@pytest.mark.parametrize("action", ["approve", "reject", "delete"])
def test_decisions_about_a_node_carry_their_message(hub_stub, tender, action):
    hub_stub.answer("PUT", f"{NODES}/north", {"Success": True, "Error": ""})
    ran = tender("node", action, "north", "-m", "because")
    assert (ran.code, ran.out.startswith("north is ")) == (0, True)
    assert hub_stub.last("PUT").body == {"Action": action, "Message": "because"}


def test_a_decision_that_the_hub_did_not_take_is_an_error(hub_stub, tender):
    hub_stub.answer("PUT", f"{NODES}/north", {"Success": False, "Error": "already approved"})
    ran = tender("node", "approve", "north")
    assert (ran.code, ran.err.splitlines()[::2]) == (1, ["error: already approved", "code: Conflict"])


def test_a_token_is_printed_alone(hub_stub, tender):
    hub_stub.answer("POST", f"{NODES}/token", {"Token": "tender-1-abc"})
    assert tender("node", "token", "--life", "60", "--approve").out == "tender-1-abc\n"
    assert hub_stub.last("POST").body == {"Life": 60, "Approve": True}


def test_why_shows_every_answer_and_counts_the_reasons(hub_stub, tender):
    hub_stub.answer("GET", f"{JOBS}/weather/why", WHY)
    out = tender("why", "weather").out
    for part in ("auction among 3, awarded in 12.6 ms", "won", "80 → 140", "battery at 12 %", "charge it", "silent"):
        assert part in out
    assert "1 × hook-said-no" in out
    assert json.loads(tender("why", "weather", "--output", "json").out) == WHY


def test_why_names_the_sleepers_that_a_job_waits_for(hub_stub, tender):
    asleep = [{"NodeName": "ridge", "BackAt": "2026-05-28T22:26:40.1Z"}, {"NodeName": "valley", "BackAt": ""}]
    hub_stub.answer("GET", f"{JOBS}/x/why", {"JobID": "x", "State": "queued", "Asleep": asleep})
    lines = tender("why", "x").out.splitlines()
    assert "ridge sleeps, and is asked when it is back: 2026-05-28T22:26:40Z" in lines
    assert "valley sleeps, and is asked when it is back" in lines


def test_why_of_a_job_that_nobody_was_asked_for_says_so(hub_stub, tender):
    hub_stub.answer("GET", f"{JOBS}/x/why", {"JobID": "x", "State": "failed", "Message": "no nodes", "Tenders": []})
    out = tender("why", "x").out
    assert "x is failed: no nodes" in out
    assert "No node was asked" in out


@pytest.mark.parametrize(
    ("words", "path", "body", "said"),
    [
        (["label", "north", "hall=a", "old-"], "labels", {"Labels": {"hall": "a", "old": None}}, "hall=a"),
        (["drain", "north", "--deadline", "1h", "-m", "disk"], "drain", {"Deadline": "1h", "Message": "disk"}, "1h"),
        (["maintenance", "north", "--for", "2h"], "maintenance", {"Duration": "2h", "Message": ""}, "for 2h"),
        (["maintenance", "north"], "maintenance", {"Duration": "", "Message": ""}, "tender node undrain"),
        (["undrain", "north"], "undrain", {}, "asked for bids again"),
    ],
)
def test_operators_label_drain_and_rest_nodes(hub_stub, tender, words, path, body, said):
    hub_stub.answer("GET", f"{NODES}/north", {"Node": NODE})
    told = {"Node": {**NODE, "Tender": {**NODE["Tender"], "GivenLabels": {"hall": "a"}}}}
    hub_stub.answer("PUT", f"{NODES}/{NODE['Info']['NodeID']}/{path}", told)
    assert said in tender("node", *words).out
    assert hub_stub.last("PUT").body == body


def test_a_word_that_is_no_label_is_refused(hub_stub, tender):
    ran = tender("node", "label", "north", "hall")
    assert (ran.code, "NAME=VALUE" in ran.err) == (2, True)
