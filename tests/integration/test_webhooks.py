"""The end of each job reaches who wants to know, signed, at least once, whatever dies or stalls."""

import asyncio
import contextlib
import json
import os
import socket
import sys

import pytest
from standardwebhooks import WebhookVerificationError

from hub.store import deliveries, webhooks
from tests.support.documents import blocks, text_of
from tests.support.hookserver import dripping, hook_server, plain
from tests.support.hub_bench import until
from tests.support.hub_process import wasm_job
from tests.support.receivers import DAY, came, teller, told, verified
from wire.states import ExecutionState as E

OK, BROKEN = plain("200 OK", b"thanks"), plain("503 Service Unavailable", b"")


@pytest.fixture
async def receiver():
    async with hook_server() as server:
        server.script = OK
        yield server


@pytest.fixture
async def hub(tmp_path):
    async with teller(tmp_path / "hub") as made:
        yield made


async def test_the_end_of_a_job_is_told_signed_with_where_its_results_are(hub, receiver):
    node = await hub.bench.node("north")
    node.keeps({"stdout": b"hello"})
    webhook_id, secret = await hub.add(receiver.port)
    job_id = await hub.job(wasm_job(Name="hello", Labels={"team": "red"}))
    (message,) = await came(receiver, 1)
    body = verified(secret, message)
    assert receiver.requests[0][0].startswith("POST /told HTTP/1.1\r\n")
    assert message[0]["content-type"] == "application/json"
    data = body["data"]
    described = (await hub.bench.get(f"jobs/{job_id}"))["Job"]
    assert body["type"] == "job.completed"
    assert body["timestamp"] == data["EndTime"] > data["CreateTime"]
    assert [data[key] for key in ("JobID", "Name", "Namespace", "Type", "Version", "State", "Reason", "Labels")] == [
        job_id, "hello", "default", "batch", 1, "Completed", "", {"team": "red"},
    ]  # fmt: skip
    assert described["Version"] == 1
    (result,) = data["Results"]
    (execution,) = await hub.bench.executions(job_id)
    assert (result["ExecutionID"], result["NodeID"]) == (execution["ID"], node.id)
    assert (await hub.bench.call("GET", result["URL"].removeprefix("http://127.0.0.1:1234"))).status_code == 200
    assert (await hub.bench.call("GET", data["ResultsURL"].removeprefix("http://127.0.0.1:1234"))).status_code == 200
    (delivery,) = await hub.ends(webhook_id)
    assert (delivery["ID"], delivery["State"], delivery["Tries"]) == (message[0]["webhook-id"], "delivered", 1)


async def test_a_forged_or_changed_message_does_not_verify(hub, receiver):
    _, secret = await hub.add(receiver.port)
    _, other = await hub.add(receiver.port, Types=["daemon"])
    await hub.bench.node("north")
    await hub.job(wasm_job())
    (headers, body) = (await came(receiver, 1))[0]
    assert verified(secret, (headers, body))
    for bent in (
        (headers, body.replace(b"completed", b"failed")),
        (headers | {"webhook-id": "d-other"}, body),
        (headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}, body),
    ):
        with pytest.raises(WebhookVerificationError):
            verified(secret, bent)
    with pytest.raises(WebhookVerificationError):
        verified(other, (headers, body))


async def test_only_ends_that_fit_are_told(hub, receiver):
    await hub.add(receiver.port, States=["Failed"], Types=["BATCH"], Labels={"team": "red"})
    await hub.add(receiver.port, Types=["ops"])
    node = await hub.bench.node("north")
    await hub.job(wasm_job(Labels={"team": "red"}))
    ops_id = await hub.job(wasm_job(Type="ops"))
    node.script = (E.ACCEPTED, E.RUNNING, E.FAILED)
    once = {"Retry": {"Attempts": 1}}
    await hub.job(wasm_job(Labels={"team": "blue"}, **once))
    await hub.job(wasm_job(Labels={"team": "red"}, Namespace="lab", **once))
    job_id = await hub.job(wasm_job(Labels={"team": "red", "more": "1"}, **once))
    messages = [json.loads(body) for _, body in await came(receiver, 2)]
    assert [(one["data"]["JobID"], one["type"]) for one in messages] == [
        (ops_id, "job.completed"), (job_id, "job.failed"),
    ]  # fmt: skip
    assert messages[1]["data"]["Reason"]


async def test_a_webhook_of_all_namespaces_is_told_of_each(hub, receiver):
    await hub.add(receiver.port, Namespace="*", States=["stopped"])
    for name in ("default", "lab"):
        job_id = await hub.bench.submit(wasm_job(Namespace=name, Type="service"))
        assert (await hub.bench.call("DELETE", f"jobs/{job_id}", json={"reason": "enough"})).status_code == 200
    messages = [json.loads(body)["data"] for _, body in await came(receiver, 2)]
    assert sorted(one["Namespace"] for one in messages) == ["default", "lab"]
    assert {one["Reason"] for one in messages} == {"enough"}


async def test_each_version_of_a_job_has_its_end(hub, receiver):
    await hub.add(receiver.port)
    await hub.bench.node("north")
    await hub.job(wasm_job(Name="again"))
    await hub.job(wasm_job(Name="again", Priority=2))
    ends = [json.loads(body)["data"] for _, body in await came(receiver, 2)]
    assert {one["JobID"] for one in ends} == {ends[0]["JobID"]}
    assert sorted(one["Version"] for one in ends) == [1, 2]


async def test_a_receiver_that_is_away_is_tried_again_later_with_the_same_id_and_body(hub, receiver):
    webhook_id, secret = await hub.add(receiver.port)
    receiver.script = BROKEN
    await hub.bench.node("north")
    await hub.job(wasm_job())
    waits = await hub.tried(webhook_id, 1)
    assert (waits["State"], waits["Tries"], waits["Status"]) == ("waiting", 1, 503)
    assert waits["Due"] > waits["ModifyTime"]
    receiver.script = OK
    hub.pass_time(60)
    first, second = await came(receiver, 2)
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]
    (done,) = await hub.ends(webhook_id)
    assert (done["State"], done["Tries"], done["Message"]) == ("delivered", 2, "")
    assert (await hub.webhook(webhook_id))["Failures"] == 0
    assert secret


async def test_a_clock_that_was_ahead_and_is_set_right_holds_nothing_back(hub, receiver):
    receiver.script = BROKEN
    webhook_id, _ = await hub.add(receiver.port)
    await hub.bench.node("north")
    hub.pass_time(2 * DAY)
    await hub.job(wasm_job())
    await hub.tried(webhook_id, 1)
    receiver.script = OK
    hub.pass_time(-2 * DAY)
    assert [one["State"] for one in await hub.ends(webhook_id)] == ["delivered"]


async def test_what_ended_before_the_hub_died_is_told_by_the_next_one(tmp_path, receiver):
    async with teller(tmp_path / "hub", running=False) as hub:
        webhook_id, secret = await hub.add(receiver.port)
        await hub.bench.node("north")
        job_id = await hub.job(wasm_job())
        assert not receiver.requests
        await hub.die()
        hub.start()
        (message,) = await came(receiver, 1)
        assert verified(secret, message)["data"]["JobID"] == job_id
        await hub.ends(webhook_id)
        await hub.die()
        hub.start()
        await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/test")
        assert [json.loads(body)["type"] for _, body in told(receiver)] == ["job.completed", "webhook.test"]


async def test_a_hub_that_dies_before_it_wrote_the_answer_down_tells_it_again_under_the_same_id(hub, receiver):
    async def never(writer):
        await asyncio.Event().wait()

    receiver.script = never
    webhook_id, secret = await hub.add(receiver.port)
    await hub.bench.node("north")
    await hub.job(wasm_job())
    await came(receiver, 1)
    await hub.die()
    receiver.script = OK
    hub.start()
    first, second = await came(receiver, 2)
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert verified(secret, second)
    await hub.ends(webhook_id)


async def test_a_receiver_that_is_gone_is_told_nothing_more(hub, receiver):
    receiver.script = plain("410 Gone", b"")
    webhook_id, _ = await hub.add(receiver.port)
    await hub.bench.node("north")
    await hub.job(wasm_job())
    (delivery,) = await hub.ends(webhook_id)
    assert (delivery["State"], delivery["Status"]) == ("failed", 410)
    shown = await hub.webhook(webhook_id)
    assert (shown["State"], shown["Waiting"]) == ("disabled", 0)
    assert "410" in shown["Message"]
    await hub.job(wasm_job())
    assert len(await hub.deliveries(webhook_id)) == 1
    receiver.script = OK
    await hub.bench.call("PUT", f"/api/v1/webhooks/{webhook_id}", json={"Paused": False})
    await hub.job(wasm_job())
    assert [one["State"] for one in await hub.ends(webhook_id, 2)] == ["delivered", "failed"]


async def test_a_receiver_that_fails_for_long_is_paused_says_so_and_gets_all_when_it_goes_on(hub, receiver, caplog):
    receiver.script = BROKEN
    webhook_id, _ = await hub.add(receiver.port)
    await hub.bench.node("north")
    await hub.job(wasm_job())
    for tries in range(1, 6):
        await came(receiver, tries)
        async with asyncio.timeout(60):
            while (await hub.webhook(webhook_id))["Failures"] < tries:
                await asyncio.sleep(0.01)
        hub.pass_time(3 * DAY / 4)
    shown = await hub.webhook(webhook_id)
    assert (shown["State"], shown["Waiting"]) == ("paused", 1)
    assert shown["Message"].startswith("every try failed for 3d")
    assert "503" in shown["Message"]
    assert webhook_id in caplog.text
    await hub.job(wasm_job())
    hub.pass_time(DAY)
    assert len(receiver.requests) == 5
    assert (await hub.webhook(webhook_id))["Waiting"] == 2
    receiver.script = OK
    await hub.bench.call("PUT", f"/api/v1/webhooks/{webhook_id}", json={"Paused": False})
    assert {one["State"] for one in await hub.ends(webhook_id, 2)} == {"delivered"}
    assert (await hub.webhook(webhook_id))["Message"] == ""


async def test_a_message_that_is_never_taken_is_given_up_while_others_go_through(hub, receiver):
    async def picky(writer):
        refused = b"poison" in receiver.requests[-1][1]
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"400 No" if refused else b"204 Yes"))

    receiver.script = picky
    webhook_id, _ = await hub.add(receiver.port)
    await hub.bench.node("north")
    await hub.job(wasm_job(Name="poison"))
    await hub.tried(webhook_id, 1)
    for day in range(1, 4):
        hub.pass_time(DAY)
        await hub.tried(webhook_id, day + 1)
        await hub.job(wasm_job())
        hub.pass_time(20)
        await hub.ends(webhook_id, day)
    found = await hub.ends(webhook_id, 4)
    assert [(one["Status"], one["State"]) for one in found] == [(204, "delivered")] * 3 + [(400, "failed")]
    assert (await hub.webhook(webhook_id))["State"] == "active"


async def test_a_receiver_that_never_answers_holds_up_neither_others_nor_jobs(hub, receiver):
    async with hook_server() as slow:
        slow.script = dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.05)
        for _ in range(3):
            await hub.add(slow.port)
        webhook_id, _ = await hub.add(receiver.port)
        await hub.bench.node("north")
        for _ in range(20):
            await hub.job(wasm_job())
        await hub.ends(webhook_id, 20)
        assert len({headers["webhook-id"] for headers, _ in await came(receiver, 20)}) == 20
        assert slow.connections <= 12


async def test_a_new_secret_and_the_old_one_sign_together_for_a_while(hub, receiver):
    webhook_id, old = await hub.add(receiver.port)
    answer = await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/rotate", json={"Overlap": "1h"})
    new = answer.json()["Secret"]
    assert new != old
    await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/test")
    (message,) = told(receiver)
    assert verified(old, message) == verified(new, message)
    hub.pass_time(3601)
    await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/test")
    assert len(told(receiver)[1][0]["webhook-signature"].split()) == 1


async def test_a_secret_lies_sealed_beside_a_key_of_its_own_and_survives_a_restart(hub, receiver, tmp_path):
    webhook_id, secret = await hub.add(receiver.port)
    await hub.die()
    stored = b"".join(path.read_bytes() for path in (tmp_path / "hub").rglob("*") if path.is_file())
    assert secret.encode() not in stored
    assert secret.removeprefix("whsec_").encode() not in stored
    assert (tmp_path / "hub" / "pki" / "webhook.key").stat().st_mode & 0o777 == 0o600
    await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/test")
    assert verified(secret, told(receiver)[0])
    (tmp_path / "hub" / "pki" / "webhook.key").unlink()
    await hub.die()
    answer = await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/test")
    assert answer.json()["Delivery"]["State"] == "failed"
    assert "does not open" in answer.json()["Delivery"]["Message"]
    rotated = await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/rotate", json={"Overlap": 0})
    await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/test")
    assert verified(rotated.json()["Secret"], told(receiver)[1])


async def test_tries_are_counted_by_how_they_ended(hub, receiver):
    def counted():
        lines = hub.bench.hub.metrics.text().decode().splitlines()
        return {line.split("{")[1]: line for line in lines if line.startswith("tender_webhook")}

    webhook_id, _ = await hub.add(receiver.port)
    await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/test")
    receiver.script = BROKEN
    await hub.bench.call("POST", f"/api/v1/webhooks/{webhook_id}/test")
    found = set(counted().values())
    assert 'tender_webhook_deliveries_total{result="delivered"} 1.0' in found
    assert 'tender_webhook_deliveries_total{result="refused"} 1.0' in found
    assert 'tender_webhooks{state="active"} 1.0' in found


async def test_what_waits_has_a_limit_and_what_is_over_is_let_go_of(tmp_path, receiver):
    async with teller(tmp_path / "hub", running=False) as hub:
        webhook_id, _ = await hub.add(receiver.port)
        await hub.bench.node("north")
        database = hub.bench.hub.database
        await database.write(
            lambda c: c.execute("UPDATE webhook_numbers SET waiting = ?", (deliveries.MOST_WAITING - 1,)).rowcount
        )
        for _ in range(2):
            await hub.job(wasm_job())
        shown = await hub.webhook(webhook_id)
        assert (shown["Waiting"], shown["Dropped"]) == (deliveries.MOST_WAITING, 1)
        await database.write(lambda c: c.execute("UPDATE webhook_numbers SET waiting = 1").rowcount)
        hub.start()
        await hub.ends(webhook_id)
        for _ in range(deliveries.TRIM_AFTER):
            await hub.bench.hub.webhooks.courier.test(hub.bench.hub.webhooks.registry.all[webhook_id])
        await database.write(lambda c: deliveries.trim(c, webhook_id, before=0, kept=10, most=200))
        assert len(await hub.deliveries(webhook_id, limit=1000)) == 11
        retention = hub.bench.hub.retention
        old = retention.keep.deliveries
        await database.write(
            lambda c: c.execute("UPDATE webhook_deliveries SET created = created - ?", (int((old + 1) * 1e9),)).rowcount
        )
        assert (await retention.round())["deliveries"] == 11
        assert (await database.read(webhooks.numbers))[webhook_id].waiting == 0


async def test_a_removed_webhook_leaves_nothing(hub, receiver):
    receiver.script = BROKEN
    webhook_id, _ = await hub.add(receiver.port)
    await hub.bench.node("north")
    await hub.job(wasm_job())
    await came(receiver, 1)
    assert (await hub.bench.call("DELETE", f"/api/v1/webhooks/{webhook_id}")).status_code == 200
    await hub.job(wasm_job())
    count = "SELECT (SELECT count(*) FROM webhook_deliveries) + (SELECT count(*) FROM webhook_numbers) AS n"
    assert (await hub.bench.hub.database.read(lambda c: c.execute(count).fetchone()["n"])) == 0
    assert (await hub.bench.call("GET", f"/api/v1/webhooks/{webhook_id}")).status_code == 404


async def test_the_receiver_on_the_front_page_takes_what_is_signed_and_nothing_else(hub, tmp_path):
    (program,) = blocks(text_of("README.md"), "python")
    (tmp_path / "receiver.py").write_text(program)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    webhook_id, secret = await hub.add(port)
    _, other = await hub.add(port, Types=["daemon"])
    environment = os.environ | {"SECRET": secret, "PORT": str(port)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "receiver.py"), env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await until(lambda: listens(port))
        await hub.bench.node("north")
        await hub.job(wasm_job(Name="weather"))
        (done,) = await hub.ends(webhook_id)
        assert child.stdout is not None
        assert (await child.stdout.readline()).decode().split() == [done["ID"], "job.completed", "weather"]
        others = [one for one in hub.bench.hub.webhooks.registry.all if one != webhook_id]
        forged = await hub.bench.call("POST", f"/api/v1/webhooks/{others[0]}/test")
        assert forged.json()["Delivery"]["State"] == "failed"
        assert other != secret
    finally:
        child.kill()
        await child.wait()


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


async def test_a_body_stays_small_and_says_where_the_rest_is(hub, receiver):
    await hub.add(receiver.port)
    await hub.bench.node("north")
    for count, left in ((10, {"Labels", "ResultsURL"}), (60, {"ResultsURL"})):
        job_id = await hub.job(wasm_job(Labels={f"l{number}": "x" * 1000 for number in range(count)}))
        body = next(body for _, body in await came(receiver, 1) if job_id.encode() in body)
        receiver.requests.clear()
        assert len(body) <= deliveries.BODY_MOST
        assert left <= set(json.loads(body)["data"]), count
        assert ("Labels" in json.loads(body)["data"]) == ("Labels" in left)


async def test_what_an_old_address_answers_late_does_not_touch_the_new_one(hub, receiver):
    may = asyncio.Event()

    async def gone(writer):
        await may.wait()
        writer.write(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")

    async with hook_server() as old:
        old.script = gone
        webhook_id, _ = await hub.add(old.port)
        await hub.bench.node("north")
        await hub.job(wasm_job())
        await came(old, 1)
        url = f"http://127.0.0.1:{receiver.port}/new"
        await hub.bench.call("PUT", f"/api/v1/webhooks/{webhook_id}", json={"URL": url})
        may.set()
        await hub.tried(webhook_id, 1)
        assert (await hub.webhook(webhook_id))["State"] == "active"
        hub.pass_time(60)
        await came(receiver, 1)
