"""Every route of the real application × every role × what belongs to others."""

import asyncio
import json

import pytest
from litestar.routes import HTTPRoute

from hub.access.callers import NOBODY, Caller, Need
from hub.api.rules import RULES, need_of, shape
from tests.support.hub_bench import hub_bench
from tests.support.hub_process import wasm_job
from tests.support.people import ROLES, People

OPEN = {
    ("GET", "/api/v1/auth"), ("GET", "/api/v1/auth/{}"), ("POST", "/api/v1/auth/{}"),
    ("GET", "/api/v1/agent/alive"), ("GET", "/api/v1/agent/version"), ("GET", "/api/v1/agent/authconfig"),
    ("POST", "/api/v1/agent/enrol"), ("POST", "/api/v1/agent/renew"), ("GET", "/api/v1/orchestrator/results/{}"),
    ("GET", ""), ("GET", "/version"), ("GET", "/livez"),
}  # fmt: skip
KNOWN = {("GET", "/api/v1/whoami"), ("GET", "/api/v1/agent/node")}
READ_NODE = {("GET", "/metrics"), ("GET", "/api/v1/agent/config"), ("GET", "/api/v1/agent/debug")}
ADMIN = ("/api/v1/users", "/api/v1/keys", "/api/v1/audit")
MINE = wasm_job() | {"Name": "in-bulk", "Namespace": "mine"}
FOREIGN = {"namespace": "theirs"}
BRIEF = {"duration": "0.05"}
"""For streams, which end by themselves only when they are told to."""


@pytest.fixture
async def people(tmp_path):
    async with hub_bench(tmp_path / "hub", address_rate=100_000) as bench:
        yield await People(bench).arrive()


def expected(method: str, path: str) -> Need | None:
    """What a route must need, said a second time; None for a route that nobody has thought about."""
    verb = "read" if method == "GET" else "write"
    if (method, path) in OPEN or path.startswith("/schema"):
        return Need.OPEN
    if (method, path) in KNOWN:
        return Need.KNOWN
    if (method, path) in READ_NODE:
        return Need.READ_NODE
    if path.startswith(ADMIN):
        return Need.ADMIN
    for kind, places in {
        "node": ("/api/v1/orchestrator/nodes",),
        "job": ("/api/v1/orchestrator/", "/api/v1/events", "/api/v1/webhooks"),
    }.items():
        if path.startswith(places):
            return Need(f"{verb}:{kind}")
    return None


def routes(bench):
    """Method, pattern and shape of everything that the application answers to; a WebSocket is opened by a GET."""
    for route in bench.api.routes:
        methods = route.methods if isinstance(route, HTTPRoute) else {"GET"}
        for method in sorted(set(methods) - {"OPTIONS", "HEAD"}):
            yield method, route.path_format, isinstance(route, HTTPRoute)


async def test_every_route_has_its_rule_and_every_rule_its_route(people):
    there = {(method, shape(path)) for method, path, _ in routes(people.bench)}
    described = {(method, path) for method, path in there if not path.startswith("/schema")}
    assert described == set(RULES)
    for method, path in there:
        assert need_of(method, path) is expected(method, path), f"{method} {path}"


def test_a_route_without_a_rule_is_for_administrators():
    assert need_of("GET", "/api/v1/new") is Need.ADMIN
    assert need_of("HEAD", "/api/v1/orchestrator/jobs") is Need.READ_JOB


@pytest.mark.parametrize("role", ["", "tk_0000000000000000_wrong", *ROLES])
async def test_each_route_lets_in_who_has_its_capability_and_nobody_else(people, role):
    caller = NOBODY
    if role in ROLES:
        caller = Caller(role, *(frozenset(words) for words in ROLES[role]))
    for method, path, is_http in routes(people.bench):
        if not is_http:
            continue
        need = expected(method, shape(path))
        url = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
        answer = await people.ask(role, method, url, content=b"{" if method != "GET" else None, params=BRIEF)
        said = f"{role or 'nobody'}: {method} {url} → {answer.status_code} {answer.text[:200]}"
        if need is Need.OPEN:
            assert answer.status_code != 403 or "client keys" in answer.text, said
            if "enrol" not in path and "renew" not in path:
                assert answer.status_code != 401, said
        elif caller.may(need):
            assert answer.status_code not in {401, 403}, said
        else:
            assert answer.status_code == (403 if caller.known else 401), said
            assert answer.json()["Hint"], said


async def opened(people, role, path, query="namespace=theirs"):
    """The types of what the application says to somebody who opens a WebSocket, and the text of the first frame."""
    said = []
    came = [{"type": "websocket.connect"}]
    key = people.keys.get(role, role)
    scope = {
        "type": "websocket", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"authorization", f"Bearer {key}".encode())] if role else [], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1234), "scheme": "ws", "subprotocols": [], "http_version": "1.1",
        "extensions": {},
    }  # fmt: skip

    async def receive():
        return came.pop() if came else await asyncio.Event().wait()

    async def send(message):
        said.append(message)

    async with asyncio.timeout(60):
        await people.bench.api(scope, receive, send)
    return [message["type"] for message in said], next((m["text"] for m in said if "text" in m), "")


@pytest.mark.parametrize("role", ["", "tk_0000000000000000_wrong", *ROLES])
async def test_each_websocket_lets_in_who_has_its_capability_and_shows_nothing_foreign(people, role):
    theirs = wasm_job() | {"Name": "secret", "Namespace": "theirs"}
    job_id = (await people.ask("admin", "PUT", "jobs", json={"Job": theirs})).json()["JobID"]
    caller = Caller(role, *(frozenset(words) for words in ROLES[role])) if role in ROLES else NOBODY
    for method, path, is_http in routes(people.bench):
        if is_http:
            continue
        types, text = await opened(people, role, path.replace("{name}", job_id))
        if not caller.may(expected(method, shape(path))):
            assert types == ["websocket.close"], path
        elif not caller.sees("theirs"):
            assert "job not found" in text, path
        else:
            assert types[0] == "websocket.accept", path
            assert "job not found" not in text, path


async def test_what_belongs_to_another_namespace_looks_like_what_is_not_there(people):
    theirs = wasm_job() | {"Name": "secret", "Namespace": "theirs"}
    submitted = await people.ask("admin", "PUT", "jobs", json={"Job": theirs})
    job_id = submitted.json()["JobID"]
    missing = "j-00000000-0000-4000-8000-000000000000"
    for method, path, is_http in routes(people.bench):
        if not is_http or "/jobs/{" not in path:
            continue
        for name in (job_id, job_id[:12], "secret"):
            pair = [
                await people.ask("owner", method, path.replace("{name}", one), params=FOREIGN, json={})
                for one in (name, missing)
            ]
            said = f"{method} {path} of {name}"
            assert [answer.status_code for answer in pair] == [404, 404], f"{said}: {pair[0].text}"
            assert pair[0].text.replace(name, missing) == pair[1].text, said
    assert (await people.ask("owner", "GET", "jobs", params={"namespace": "*"})).json()["Items"] == []
    assert (await people.ask("owner", "GET", "jobs", params=FOREIGN)).status_code == 403
    assert (await people.ask("owner", "PUT", "jobs/diff", json={"Job": theirs})).status_code == 403
    many = await people.ask("owner", "PUT", "submissions", json={"Jobs": [{"Job": theirs}, {"Job": MINE}]})
    assert [item.get("Error", {}).get("Status") for item in many.json()["Items"]] == [403, None]
    used = (await people.ask("owner", "GET", "namespaces")).json()["Items"]
    assert [one["Name"] for one in used] == ["mine"]
    for params in ({"job": job_id}, {"job": "secret", "namespace": "theirs"}, FOREIGN):
        answer = await people.ask("owner", "GET", "/api/v1/events", params=BRIEF | params)
        assert answer.status_code in {403, 404}, answer.text
    streams = {
        role: (await people.ask(role, "GET", "/api/v1/events", params=BRIEF | {"after": "0"})).text
        for role in ("owner", "admin")
    }
    assert job_id in streams["admin"]
    assert job_id not in streams["owner"]
    for again in (theirs, theirs | {"Name": "another"}):
        assert (await people.ask("owner", "PUT", "jobs", json={"Job": again})).status_code == 403
    told = (await people.ask("admin", "GET", f"jobs/{job_id}")).json()["Job"]
    assert (told["State"]["StateType"], told["Version"]) != ("Stopped", 2)


async def test_a_member_works_in_its_own_namespace(people):
    mine = wasm_job() | {"Name": "ours", "Namespace": "mine"}
    assert (await people.ask("reader", "PUT", "jobs", json={"Job": mine})).status_code == 403
    for role in ("writer", "owner"):
        answer = await people.ask(role, "PUT", "jobs", json={"Job": mine | {"Name": role}})
        assert answer.status_code == 200, answer.text
    listed = (await people.ask("reader", "GET", "jobs", params={"limit": "50"})).json()["Items"]
    assert sorted(job["Name"] for job in listed) == ["owner", "writer"]
    assert (await people.ask("writer", "GET", "jobs")).status_code == 403
    assert json.loads((await people.ask("looker", "GET", "jobs")).text)["Items"]


async def test_what_lies_in_other_namespaces_is_not_reached_through_what_is_ones_own(people):
    node = await people.bench.node("north")
    theirs, mine = wasm_job() | {"Namespace": "theirs"}, wasm_job() | {"Namespace": "mine"}
    ids = {}
    for role, job in (("admin", theirs), ("owner", mine)):
        node.keeps({"stdout": role.encode()})
        ids[role] = (await people.ask(role, "PUT", "jobs", json={"Job": job})).json()["JobID"]
        await people.ask(role, "GET", f"jobs/{ids[role]}?wait=30s")
    (foreign,) = (await people.ask("admin", "GET", f"jobs/{ids['admin']}/executions")).json()["Items"]
    (own,) = (await people.ask("owner", "GET", f"jobs/{ids['owner']}/executions")).json()["Items"]

    async def status(role, execution):
        path = f"/api/v1/orchestrator/results/{execution['ID']}.tar.gz"
        return (await people.ask(role, "GET", path)).status_code

    assert [await status("owner", one) for one in (own, foreign)] == [200, 404]
    assert await status("admin", foreign) == 200
    history = await people.ask("owner", "GET", f"jobs/{ids['owner']}/history?execution_id={foreign['ID']}")
    assert history.json()["Items"] == []
    path = f"/api/v1/orchestrator/jobs/{ids['owner']}/logs"
    _, text = await opened(people, "owner", path, f"execution_id={foreign['ID']}")
    _, missing = await opened(people, "owner", path, "execution_id=e-none")
    assert "error" in text
    assert text.replace(foreign["ID"], "e-none") == missing


async def test_a_beginning_of_an_id_is_unique_among_what_the_caller_sees(people):
    for number in range(3):
        theirs = wasm_job() | {"Name": f"t{number}", "Namespace": "theirs"}
        await people.ask("admin", "PUT", "jobs", json={"Job": theirs})
    assert (await people.ask("admin", "GET", "jobs/j-")).status_code == 409
    assert (await people.ask("owner", "GET", "jobs/j-")).status_code == 404
    mine = (await people.ask("owner", "PUT", "jobs", json={"Job": MINE})).json()["JobID"]
    assert (await people.ask("owner", "GET", "jobs/j-")).json()["Job"]["ID"] == mine


async def test_an_idempotency_token_of_another_namespace_tells_nothing(people):
    theirs = wasm_job() | {"Namespace": "theirs"}
    body = {"Job": theirs, "IdempotencyToken": "t"}
    first = (await people.ask("admin", "PUT", "jobs", json=body)).json()["JobID"]
    mine = await people.ask("owner", "PUT", "jobs", json={"Job": MINE, "IdempotencyToken": "t"})
    assert mine.status_code == 200, mine.text
    assert mine.json()["JobID"] != first
    assert (await people.ask("admin", "PUT", "jobs", json=body)).json()["JobID"] == first


@pytest.mark.parametrize("role", ["reader", "watcher", "operator", "looker"])
async def test_who_may_not_write_jobs_submits_none_in_any_way(people, role):
    for method, path, body in (
        ("PUT", "jobs", {"Job": MINE}), ("POST", "jobs", {"Job": MINE}),
        ("PUT", "submissions", {"Jobs": [{"Job": MINE}]}), ("PUT", "jobs/validate", {"Job": MINE}),
        ("PUT", "jobs/diff", {"Job": MINE}),
    ):  # fmt: skip
        assert (await people.ask(role, method, path, json=body)).status_code == 403, path
    assert (await people.ask("admin", "GET", "jobs", params={"namespace": "*"})).json()["Items"] == []


async def test_purge_rerun_and_stop_are_for_who_may_write_in_the_jobs_namespace(people):
    await people.bench.node("north")
    job_id = (await people.ask("owner", "PUT", "jobs", json={"Job": MINE})).json()["JobID"]
    await people.ask("owner", "GET", f"jobs/{job_id}?wait=30s")
    requests = (("PUT", f"jobs/{job_id}/rerun"), ("DELETE", f"jobs/{job_id}"), ("DELETE", f"jobs/{job_id}?purge=true"))
    for method, path in requests:
        for role, code in (("reader", 403), ("looker", 403), ("operator", 403), ("watcher", 403), ("", 401)):
            assert (await people.ask(role, method, path, json={})).status_code == code, f"{role} {path}"
    assert (await people.ask("writer", "PUT", f"jobs/{job_id}/rerun", json={})).status_code == 200
    await people.ask("owner", "GET", f"jobs/{job_id}?wait=30s")
    assert (await people.ask("writer", "DELETE", f"jobs/{job_id}?purge=true")).status_code == 200
    assert (await people.ask("owner", "GET", f"jobs/{job_id}")).status_code == 404


@pytest.mark.parametrize("what", ["labels", "drain", "maintenance", "undrain"])
async def test_nodes_are_kept_by_who_may_write_them_and_by_nobody_else(people, what):
    await people.bench.node("north")
    if what == "undrain":
        await people.ask("admin", "PUT", "nodes/north/drain", json={})
    body = {"Labels": {"hall": "a"}} if what == "labels" else {}
    for role, code in (("owner", 403), ("looker", 403), ("watcher", 403), ("writer", 403), ("operator", 200)):
        assert (await people.ask(role, "PUT", f"nodes/north/{what}", json=body)).status_code == code, role
    assert (await people.ask("operator", "PUT", f"nodes/south/{what}", json=body)).status_code == 404
