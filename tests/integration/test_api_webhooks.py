"""The API of webhooks: what is taken, what is refused and why, who sees what, and the audit log."""

import pytest

from hub.policy import Policy, WebhookPolicy
from hub.webhooks.registry import MOST_EACH
from tests.support.hookserver import hook_server, plain
from tests.support.hub_bench import hub_bench
from tests.support.people import People
from tests.support.receivers import POLICY
from wire import clock

HOOKS = "/api/v1/webhooks"
GOOD = {"URL": "https://hooks.example/tender"}


async def add(bench, **wish):
    answer = await bench.call("POST", HOOKS, json=GOOD | wish)
    assert answer.status_code == 200, answer.text
    return answer.json()["Webhook"]


async def test_a_webhook_is_added_shown_changed_and_removed(bench):
    answer = await bench.call("POST", HOOKS, json=GOOD | {"States": ["Failed", "failed"], "Labels": {"team": "red"}})
    made, secret = answer.json()["Webhook"], answer.json()["Secret"]
    assert secret.startswith("whsec_")
    assert (made["State"], made["Namespace"], made["States"], made["Types"]) == ("active", "default", ["failed"], [])
    shown = (await bench.call("GET", f"{HOOKS}/{made['ID'][:12]}")).json()["Webhook"]
    assert shown == made
    assert secret not in (await bench.call("GET", HOOKS)).text
    changed = await bench.call("PUT", f"{HOOKS}/{made['ID']}", json={"Types": ["batch"], "Paused": True})
    now = changed.json()["Webhook"]
    assert (now["State"], now["Types"], now["States"], now["Labels"]) == (
        "paused", ["batch"], ["failed"], {"team": "red"},
    )  # fmt: skip
    assert (await bench.call("PUT", f"{HOOKS}/{made['ID']}", json={"Paused": False})).json()["Webhook"]["Message"] == ""
    assert (await bench.call("DELETE", f"{HOOKS}/{made['ID']}")).json() == {"Success": True}
    assert (await bench.get(HOOKS))["Items"] == []


async def test_what_stands_behind_the_question_mark_is_not_shown(bench):
    made = await add(bench, URL="https://hooks.example/a?token=hunter2")
    assert made["URL"] == "https://hooks.example/a?…"
    assert "hunter2" not in (await bench.call("GET", HOOKS)).text
    assert "hunter2" not in (await bench.call("GET", "/api/v1/audit")).text


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"URL": ""}, "URL"),
        ({"URL": "hooks.example"}, "not an address"),
        ({"URL": "ftp://hooks.example/"}, "not an address"),
        ({"URL": "https://"}, "not an address"),
        ({"URL": "https://hooks.example:99999/"}, "Port out of range"),
        ({"URL": "https://[::1/"}, "not a URL"),
        ({"URL": "http://hooks.example/"}, "without TLS"),
        ({"URL": "https://ann:secret@hooks.example/"}, "user name"),
        ({"URL": "https://hooks.example/#there"}, "fragment"),
        ({"URL": "https://hooks.example/" + "x" * 2000}, "2000 characters"),
        ({"URL": "https://hööks.example/"}, "characters"),
        ({"URL": "https://hooks.example/a\r\nX-Evil: 1"}, "characters"),
        ({"URL": "https://127.0.0.1/"}, "not public"),
        ({"URL": "https://[::ffff:10.0.0.1]/"}, "not public"),
        ({"URL": "https://169.254.169.254/latest"}, "not public"),
        ({"States": ["running"]}, "running"),
        ({"Types": ["cron"]}, "cron"),
        ({"Labels": {f"l{n}": "x" for n in range(100)}}, "64 labels"),
        ({"Labels": {"a": 1}}, "Labels"),
        ({"Namespace": " "}, "namespace"),
        ({"Namespace": "x" * 300}, "namespace"),
        ({"Nonsense": 1}, "Nonsense"),
        ({"States": "failed"}, "States"),
    ],
)
async def test_what_can_never_work_is_refused_with_the_reason(bench, wish, said):
    answer = await bench.call("POST", HOOKS, json=GOOD | wish)
    assert answer.status_code == 400, answer.text
    assert said.lower() in answer.text.lower()
    assert "Hint" in answer.json() or wish["Namespace"]
    assert "secret" not in answer.text
    assert (await bench.get(HOOKS))["Items"] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"URL": 1}', b"{" * 5000, b"\xff"])
async def test_a_body_that_is_no_webhook_is_refused(bench, body):
    answer = await bench.call("POST", HOOKS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


async def test_a_change_keeps_to_the_same_rules(bench):
    made = await add(bench)
    for change in ({"URL": "http://hooks.example"}, {"States": ["lost"]}, {"Paused": "yes"}, {"Namespace": "lab"}):
        assert (await bench.call("PUT", f"{HOOKS}/{made['ID']}", json=change)).status_code == 400
    for overlap in ("400d", "soon", -1):
        answer = await bench.call("POST", f"{HOOKS}/{made['ID']}/rotate", json={"Overlap": overlap})
        assert answer.status_code == 400
    answer = await bench.call("GET", f"{HOOKS}/{made['ID']}/deliveries", params={"state": "lost"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("method", "rest"),
    [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/test"), ("GET", "/deliveries")],
)
async def test_what_belongs_to_another_namespace_looks_like_what_is_not_there(bench, method, rest):
    people = await People(bench).arrive()
    theirs = await people.ask("admin", "POST", HOOKS, json=GOOD | {"Namespace": "theirs"})
    theirs_id, missing = theirs.json()["Webhook"]["ID"], "w-00000000-0000-4000-8000-000000000000"
    both = [await people.ask("owner", method, f"{HOOKS}/{one}{rest}", json={}) for one in (theirs_id, missing)]
    assert [answer.status_code for answer in both] == [404, 404]
    assert both[0].text.replace(theirs_id, missing) == both[1].text
    assert (await people.ask("owner", "GET", HOOKS)).json()["Items"] == []
    assert (await people.ask("owner", "GET", HOOKS, params={"namespace": "theirs"})).status_code == 403
    for space in ("theirs", "*"):
        assert (await people.ask("owner", "POST", HOOKS, json=GOOD | {"Namespace": space})).status_code == 403
    assert (await people.ask("owner", "POST", HOOKS, json=GOOD | {"Namespace": "mine"})).status_code == 200
    assert (await people.ask("reader", "POST", HOOKS, json=GOOD | {"Namespace": "mine"})).status_code == 403
    assert len((await people.ask("reader", "GET", HOOKS)).json()["Items"]) == 1
    assert len((await people.ask("admin", "GET", HOOKS)).json()["Items"]) == 2


async def test_a_namespace_has_so_many_webhooks_and_no_more(bench):
    for _ in range(MOST_EACH):
        await add(bench, Namespace="full")
    answer = await bench.call("POST", HOOKS, json=GOOD | {"Namespace": "full"})
    assert (answer.status_code, f"at most {MOST_EACH}" in answer.text) == (409, True)
    assert (await add(bench))["State"] == "active"


async def test_each_change_is_in_the_audit_log_without_a_secret(bench):
    made = await add(bench)
    rotated = await bench.call("POST", f"{HOOKS}/{made['ID']}/rotate")
    await bench.call("PUT", f"{HOOKS}/{made['ID']}", json={"Paused": True})
    await bench.call("DELETE", f"{HOOKS}/{made['ID']}")
    told = (await bench.call("GET", "/api/v1/audit")).text
    for word in (f"webhook {made['ID']}", "hooks.example", "rotate", "paused", "DELETE"):
        assert word in told
    assert "whsec_" not in told
    assert rotated.json()["Secret"] not in told


async def test_deliveries_come_in_pages_the_newest_first(tmp_path):
    async with hook_server() as receiver, hub_bench(tmp_path / "hub", policy=POLICY) as bench:
        receiver.script = plain("500 No", b"")
        made = await add(bench, URL=f"http://127.0.0.1:{receiver.port}/")
        for _ in range(5):
            tested = (await bench.call("POST", f"{HOOKS}/{made['ID']}/test")).json()["Delivery"]
            assert (tested["State"], tested["Tries"], tested["Status"]) == ("failed", 1, 500)
        path, seen, token = f"{HOOKS}/{made['ID']}/deliveries", [], ""
        while True:
            page = await bench.get(path, limit=2, next_token=token)
            seen += [one["ID"] for one in page["Items"]]
            token = page["NextToken"]
            if not token:
                break
        assert len(set(seen)) == 5
        assert seen[0] == tested["ID"]
        assert (await bench.get(path, state="delivered"))["Items"] == []
        assert tested["CreateTime"] <= clock.rfc3339(clock.unix_ns())


async def test_the_owner_decides_where_webhooks_may_lead(tmp_path):
    policy = Policy(webhooks=WebhookPolicy(allow=["10.1.0.0/16", "inside.example"]))
    async with hub_bench(tmp_path / "hub", policy=policy) as bench:
        for url, status in (
            ("https://10.1.2.3/", 200),
            ("https://10.2.0.1/", 400),
            ("https://inside.example/", 200),
            ("http://inside.example/", 400),
        ):
            assert (await bench.call("POST", HOOKS, json={"URL": url})).status_code == status, url
