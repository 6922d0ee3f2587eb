"""Users at a running hub: credentials, their end, their limits, and what becomes of bad ones."""

import base64

import msgspec
import pytest

from hub.access.limits import Limits
from tests.support.hub_bench import hub_bench
from tests.support.hub_process import wasm_job
from tests.support.people import People, basic
from wire.failures import Conflict, TooManyRequests

PASSWORD = "correct horse battery"


@pytest.fixture
async def people(bench):
    some = People(bench)
    await some.add("root", ["*"], ["*"])
    return some


async def status(people, name, path="jobs", method="GET", **more):
    return (await people.ask(name, method, path, **more)).status_code


async def test_a_hub_without_users_is_open_and_the_first_user_closes_it(bench):
    assert (await bench.call("GET", "jobs")).status_code == 200
    who = await bench.get("/api/v1/whoami")
    assert (who["Name"], who["Open"]) == ("anyone", True)
    made = await bench.call(
        "POST", "/api/v1/users", json={"Name": "root", "Capabilities": ["*"], "Namespaces": ["*"], "Key": True}
    )
    key = made.json()["Key"]
    assert "root" not in (await bench.call("GET", "jobs")).text
    refused = await bench.call("GET", "jobs")
    assert (refused.status_code, refused.json()["Code"]) == (401, "Unauthorized")
    assert "TENDER_API_KEY" in refused.json()["Hint"]
    assert "Basic" in refused.headers["www-authenticate"]
    answer = await bench.call("GET", "/api/v1/whoami", headers={"Authorization": f"bearer {key}"})
    assert answer.json()["Capabilities"] == ["*"]


@pytest.mark.parametrize(
    "body",
    [
        {"Name": "root", "Capabilities": ["*"], "Namespaces": ["*"]},
        {"Name": "root", "Capabilities": ["*"], "Namespaces": ["default"], "Key": True},
        {"Name": "root", "Capabilities": ["read:job"], "Namespaces": ["*"], "Key": True},
    ],
)
async def test_the_first_user_must_be_able_to_get_in_and_to_add_others(bench, body):
    answer = await bench.call("POST", "/api/v1/users", json=body)
    assert answer.status_code == 409, answer.text
    assert (await bench.call("GET", "jobs")).status_code == 200


async def test_secrets_are_kept_as_hashes_only(bench, people):
    await people.add("clerk", ["read:job"], ["default"], PASSWORD)
    stored = b"".join(file.read_bytes() for file in bench.config.data_dir.glob("hub.db*"))
    secret = people.keys["clerk"].split("_", 2)[2]
    assert PASSWORD.encode() not in stored
    assert secret.encode() not in stored
    assert b"$argon2id$" in stored
    shown = await people.ask("root", "GET", "/api/v1/users/clerk")
    assert "argon2" not in shown.text
    assert shown.json()["User"]["HasPassword"] is True


async def test_a_password_lets_in_and_a_wrong_one_does_not(bench, people):
    await people.add("clerk", ["read:job"], ["default"], PASSWORD)
    for _ in range(2):
        assert (await bench.call("GET", "jobs", headers=basic("clerk", PASSWORD))).status_code == 200
    for name, password in (("clerk", PASSWORD + "!"), ("clerk", ""), ("root", ""), ("nobody", PASSWORD), ("", "")):
        assert (await bench.call("GET", "jobs", headers=basic(name, password))).status_code == 401, name


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer tk_x_y", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff").decode(),
     "Digest x", "\x80", "Bearer " + "x" * 5000],
)  # fmt: skip
async def test_a_header_that_is_no_credential_is_refused_in_words(bench, people, header):
    answer = await bench.call("GET", "jobs", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.json()["Hint"]


async def test_what_is_revoked_expired_or_removed_is_refused_from_the_next_request_on(bench, people):
    await people.add("clerk", ["read:job"], ["default"])
    people.keys["short"], record = await people.key("clerk", life=1e-6)
    assert await status(people, "short") == 401
    people.keys["other"], record = await people.key("clerk")
    assert await status(people, "other") == 200
    assert await status(people, "root", f"/api/v1/keys/{record.id}", "DELETE") == 200
    assert await status(people, "other") == 401
    assert await status(people, "clerk") == 200
    assert await status(people, "root", "/api/v1/users/clerk", "DELETE") == 200
    assert await status(people, "clerk") == 401
    assert await status(people, "root", "/api/v1/users/clerk", "DELETE") == 404
    assert await status(people, "root", f"/api/v1/keys/{record.id}", "DELETE") == 404


async def test_users_and_keys_are_there_after_a_restart(bench, people):
    await people.add("clerk", ["read:job"], ["default"], PASSWORD)
    await bench.restart()
    assert await status(people, "clerk") == 200
    assert (await bench.call("GET", "jobs", headers=basic("clerk", PASSWORD))).status_code == 200
    assert await status(people, "") == 401


async def test_a_changed_user_has_its_new_rights_and_password_at_once(bench, people):
    await people.add("clerk", ["read:job"], ["default"], PASSWORD)
    assert (await bench.call("GET", "jobs", headers=basic("clerk", PASSWORD))).status_code == 200
    change = {"Capabilities": ["read:node"], "Password": "another password"}
    answer = await people.ask("root", "PUT", "/api/v1/users/clerk", json=change)
    assert answer.json()["User"]["Namespaces"] == ["default"]
    assert await status(people, "clerk") == 403
    assert await status(people, "clerk", "nodes") == 200
    assert (await bench.call("GET", "nodes", headers=basic("clerk", PASSWORD))).status_code == 401
    assert (await bench.call("GET", "nodes", headers=basic("clerk", "another password"))).status_code == 200


async def test_a_key_narrows_what_its_user_may_do_and_never_widens_it(people):
    await people.add("clerk", ["read:*", "write:job"], ["a", "b"])
    people.keys["narrow"], _ = await people.key("clerk", capabilities=["read:job"], namespaces=["a", "c"])
    who = (await people.ask("narrow", "GET", "/api/v1/whoami")).json()
    assert (who["Name"], who["Capabilities"], who["Namespaces"]) == ("clerk", ["read:job"], ["a"])
    people.keys["wide"], _ = await people.key("clerk", capabilities=["*", "write:node"], namespaces=["*"])
    assert (await people.ask("wide", "GET", "/api/v1/whoami")).json()["Capabilities"] == []


async def test_the_last_one_who_may_change_users_stays(people):
    assert await status(people, "root", "/api/v1/users/root", "DELETE") == 409
    body = {"Capabilities": ["read:job"]}
    assert await status(people, "root", "/api/v1/users/root", "PUT", json=body) == 409
    await people.add("second", ["*"], ["*"])
    assert await status(people, "root", "/api/v1/users/root", "DELETE") == 200
    assert await status(people, "second", "/api/v1/users") == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("users", b"{"), ("users", b"[]"), ("users", b'{"Name": 7}'), ("users", b'{"Nmae": "x"}'),
        ("users", b'{"Name": "Big"}'), ("users", b'{"Name": "hub", "Capabilities": ["*"]}'),
        ("users", b'{"Name": "a"}'), ("users", b'{"Name": "a", "Capabilities": ["read:jobs"]}'),
        ("users", b'{"Name": "a", "Capabilities": ["*"], "Namespaces": []}'),
        ("users", b'{"Name": "a", "Capabilities": ["*"], "Namespaces": [" "]}'),
        ("users", b'{"Name": "a", "Capabilities": ["*"], "Password": "short"}'),
        ("users", b'{"Name": "a", "Capabilities": ["*"], "Rate": -1}'),
        ("keys", b"{}"), ("keys", b'{"User": "root", "Life": -1}'), ("keys", b'{"User": "root", "Life": 1e300}'),
        ("keys", b'{"User": "root", "Label": "a\\nb"}'), ("keys", b'{"User": "root", "Capabilities": ["all"]}'),
    ],
)  # fmt: skip
async def test_a_user_or_key_that_cannot_be_is_refused(people, path, body):
    answer = await people.ask("root", "POST", f"/api/v1/{path}", content=body)
    assert answer.status_code == 400, answer.text
    assert "short" not in answer.text


async def test_a_name_is_taken_once_and_a_key_needs_its_user(people):
    with pytest.raises(Conflict, match="there is a user root already"):
        await people.add("root", ["*"], ["*"])
    assert await status(people, "root", "/api/v1/keys", "POST", json={"User": "who"}) == 404


# --- limits ---------------------------------------------------------------------------------------


async def test_a_user_that_asks_too_often_is_told_when_to_come_again(people):
    await people.add("busy", ["read:job"], ["default"], rate=2)
    answers = [await people.ask("busy", "GET", "jobs") for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert answers[0].status_code == 200
    assert refused
    assert refused[0].json()["Code"] == "TooManyRequests"
    assert int(refused[0].headers["retry-after"]) >= 1
    assert await status(people, "root") == 200


async def test_who_guesses_from_one_address_is_stopped_before_the_guess_is_looked_at(tmp_path):
    async with hub_bench(tmp_path / "hub", address_rate=0.5) as bench:
        people = People(bench)
        await people.add("root", ["*"], ["*"])
        await people.add("clerk", ["read:job"], ["*"], PASSWORD)

        async def tried(password):
            return (await bench.call("GET", "jobs", headers=basic("clerk", password))).status_code

        assert await tried(PASSWORD) == 200
        codes = [await tried(f"a wrong one {number}") for number in range(6)]
        assert codes[0] == 401
        assert codes[-1] == 429
        # the right one waits too: otherwise the answer would tell a guesser which one it is
        assert await tried(PASSWORD) == 429
        assert await status(people, "root") == 200


async def test_a_body_is_held_to_the_cap_of_its_user(people):
    await people.add("small", ["write:job"], ["default"], body_most=100)
    assert await status(people, "small", "jobs", "PUT", json={"Job": wasm_job()}) == 413
    assert await status(people, "root", "jobs", "PUT", json={"Job": wasm_job()}) == 200


def test_an_allowance_comes_back_with_time_and_is_held_to_a_burst():
    now = [0.0]
    limits = Limits(now=lambda: now[0])

    def taken(name="u"):
        count = 0
        try:
            while True:
                limits.take(name, 10)
                count += 1
        except TooManyRequests:
            return count

    assert taken() == 20
    assert taken("v") == 20
    now[0] = 0.5
    assert taken() == 5
    now[0] = 1000
    assert taken() == 20


def test_requests_at_once_are_held_to_their_number():
    limits = Limits(at_once=2)
    for _ in range(2):
        limits.enter("u")
    with pytest.raises(TooManyRequests):
        limits.enter("u")
    limits.enter("v")
    limits.leave("u")
    limits.enter("u")


def test_no_more_names_are_remembered_than_the_cap():
    limits = Limits()
    for number in range(12_000):
        limits.take(str(number), 1)
    assert len(limits._buckets) == 10_000


# --- clients of Bacalhau --------------------------------------------------------------------------


async def test_bacalhaus_clients_learn_that_this_hub_wants_keys(bench, people):
    for path in ("/api/v1/agent/authconfig", "/api/v1/agent/version", "/api/v1/agent/alive"):
        assert (await bench.call("GET", path)).status_code == 200
    assert (await bench.get("/api/v1/auth"))["Methods"] == {}
    answer = await bench.call("POST", "/api/v1/auth/clientkey", json={"Name": "clientkey", "MethodData": "e30="})
    assert answer.status_code == 403
    assert "BACALHAU_API_KEY" in answer.json()["Hint"]


async def test_results_are_fetched_without_a_credential_by_the_address_from_the_list(bench, people):
    node = await bench.node("north")
    node.keeps({"stdout": b"hello"})
    submitted = await people.ask("root", "PUT", "jobs", json={"Job": wasm_job()})
    job_id = submitted.json()["JobID"]
    await people.ask("root", "GET", f"jobs/{job_id}?wait=30s")
    (item,) = (await people.ask("root", "GET", f"jobs/{job_id}/results")).json()["Items"]
    url = item["Params"]["URL"]
    assert (await bench.call("GET", url.removeprefix("http://127.0.0.1:1234"))).status_code == 200
    plain = url.partition("?")[0].removeprefix("http://127.0.0.1:1234")
    for bad in (plain, url[:-1].removeprefix("http://127.0.0.1:1234"), f"{plain}?expires=9999999999&signature=00"):
        assert (await bench.call("GET", bad)).status_code == 404, bad
    assert await status(people, "root", plain) == 200


async def test_the_gate_leaves_no_secret_in_the_audit_log_or_in_an_answer(bench, people):
    secret = {"Name": "clerk", "Capabilities": ["read:job"], "Password": PASSWORD}
    await people.ask("root", "POST", "/api/v1/users", json=secret)
    log = await people.ask("root", "GET", "/api/v1/audit")
    assert PASSWORD not in log.text
    (last,) = (msgspec.json.decode(item["Entry"]) for item in log.json()["Items"][-1:])
    assert (last["user"], last["action"], last["target"]) == ("root", "POST /api/v1/users", "user clerk")
