"""Recorded exchanges of Bacalhau's CLI v1.9.3 and SDK, replayed: the same requests get answers of the same shape."""

from pathlib import Path

import pytest

from tests.support.hub_bench import PLENTY, hub_bench
from tests.support.replay import Player, Recording, differences
from wire import messages as m

FOLDER = Path(__file__).parent / "recordings"
CAPS = {
    "engines": {"wasm": m.EngineCapability("52"), "podman": m.EngineCapability("5")},
    "inputs": ["inline", "urldownload"],
    "labels": {"name": "ref-comp", "os_type": "linux", "os_arch": "amd64", "zone": "ref", "tier": "edge"},
    "total": PLENTY,
}
BETTER = {
    ("job_list", 3): (200, "jobs can be ordered by id, as the CLI offers"),
    ("job_stop", 5): (409, "a job that is over is a conflict, not a fault of the server"),
    ("job_update_diff_force", 0): (409, "no change is a conflict, not a fault of the server"),
    ("not_found_errors", 4): (409, "a prefix that fits several is a conflict, not a fault of the server"),
    ("submit_errors_api", 6): (200, "results without a publisher are kept on the node"),
    ("submit_errors_api", 17): (400, "an unknown order is the client's mistake"),
    ("submit_errors_api", 18): (200, "jobs can be ordered by id, as the CLI offers"),
}
"""Where the status is another on purpose, and why."""
OTHER_WORDS = {
    ("nodes", 4), ("not_found_errors", 2), ("not_found_errors", 3), ("not_found_errors", 5), ("submit_errors_api", 3),
    ("submit_errors_api", 9), ("submit_errors_api", 10), ("submit_errors_api", 14), ("submit_errors_api", 15),
    ("submit_errors_api", 16), ("submit_errors_api", 17),
}  # fmt: skip
"""Messages that say the same in words of our own: names of Go types, wrong values, a hint in the sentence."""
LEFT_OUT = (".Meta.bacalhau.org/client.instance.id: missing", ".Details: missing")
"""Who the client was is not kept with a job; the details of an unknown URL repeat its hint."""
OF_EXECUTIONS = (".Job.State.StateType", ".PublishedResult.")
"""An execution shows its job as it is now, not as it was when the execution began, and its result where it lies."""


@pytest.fixture
async def player(tmp_path):
    async with hub_bench(tmp_path / "hub") as bench:
        yield Player(bench, await bench.node("ref-comp", **CAPS))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
async def test_each_request_gets_an_answer_of_the_recorded_shape(player, path):
    recording = Recording(path)
    await player.prepare(recording)
    for number, exchange in enumerate(recording.exchanges):
        answer = await player.play(exchange, recording.exchanges[number + 1 :])
        where = (recording.name, number)
        status, _ = BETTER.get(where, (exchange["status"], ""))
        assert answer.status_code == status, (where, exchange["path"], answer.text)
        if "location" in exchange:
            assert answer.headers["location"] == exchange["location"]
        recorded = exchange.get("answer")
        if recorded is None or (status < 400) != (exchange["status"] < 400):
            continue
        told = answer.json()
        if exchange["status"] != status:
            recorded["Status"] = status
        found = [d for d in differences(recorded, told) if not d.endswith(LEFT_OUT) and not is_of_executions(d)]
        assert not found, (where, exchange["path"], told)
        if status >= 400 and "Message" in recorded and where not in OTHER_WORDS:
            assert player.ours(recorded["Message"]) == told["Message"]


def is_of_executions(difference):
    return any(f".Items[0]{part}" in difference for part in OF_EXECUTIONS)


def test_a_missing_field_a_wrong_type_and_a_lost_token_would_be_noticed():
    recorded = {"NextToken": "x", "Items": [{"ID": "a", "State": {"StateType": "Running"}, "Revision": 1}]}
    assert differences(recorded, {**recorded, "More": 1}) == []
    assert differences(recorded, {**recorded, "NextToken": ""}) == [".NextToken: '' for 'x'"]
    assert len(differences(recorded, {"NextToken": "y", "Items": []})) == 1
    bent = {"ID": 7, "State": {"StateType": "Queued"}}
    assert len(differences(recorded, {"NextToken": "y", "Items": [bent]})) == 3
