"""What the audit log tells of each changing route of the real application, and of attempts that were refused."""

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.api.rules import JOBS, NODES, WEBHOOKS, is_change, shape
from hub.keeping.rules import Keeping
from tests.support.enrolment import Applicant
from tests.support.hub_bench import hub_bench
from tests.support.hub_process import wasm_job
from tests.support.people import People
from wire.auditing import Verifier
from wire.states import ExecutionState as E
from wire.states import Membership


@pytest.fixture
async def people(tmp_path):
    async with hub_bench(tmp_path / "hub", address_rate=100_000) as bench:
        yield await People(bench).arrive()


class Changes:
    """A request for each changing route that has its effect, and whom the log must name."""

    def __init__(self, people):
        self.people, self.bench = people, people.bench

    async def request(self, method, path):
        """Path, body, and how the target of the entry begins."""
        for find in (self.of_jobs, self.of_nodes, self.of_boxes, self.of_users, self.of_webhooks):
            if (found := await find(method, path)) is not None:
                return found
        raise AssertionError(f"no request is known for {method} {path}: add one")

    async def of_jobs(self, method, path):
        match method, path.removeprefix("/api/v1/orchestrator/"):
            case "PUT" | "POST", "jobs":
                return path, {"Job": wasm_job(Name=f"by-{method}")}, "job j-"
            case "PUT", "submissions":
                return path, {"Jobs": [{"Job": wasm_job(Name="only")}, {"Job": {"Type": "none"}}]}, "job j-"
            case "DELETE", "jobs/{}":
                return f"{JOBS}/{(job := await self.running())}", None, f"job {job}"
            case "PUT", "jobs/{}/rerun":
                return f"{JOBS}/{(job := await self.done())}/rerun", {"Reason": "again"}, f"job {job}"

    async def of_nodes(self, method, path):
        north = self.bench.nodes["north"].id
        url = path.replace("{}", "north")
        match method, path.removeprefix(NODES):
            case "PUT", "/{}":
                node = await self.bench.node("pending", Membership.PENDING)
                return f"{NODES}/{node.id}", {"Action": "approve"}, f"node {node.id}"
            case "POST", "/token":
                return path, {}, "join token "
            case "PUT", "/{}/labels":
                return url, {"Labels": {"hall": "a"}}, f"node {north}"
            case "PUT", "/{}/undrain":
                await self.people.ask("admin", "PUT", f"{NODES}/north/drain", json={})
                return url, {}, f"node {north}"
            case "PUT", "/{}/drain" | "/{}/maintenance":
                return url, {"Message": "disk"}, f"node {north}"

    async def of_boxes(self, method, path):
        if method != "POST" or not path.startswith("/api/v1/agent/"):
            return None
        joins = Applicant().asks(await self.bench.hub.tokens.issue())
        if path.endswith("/enrol"):
            return path, msgspec.to_builtins(joins), f"node {Applicant().node_id}"
        await self.people.ask("", "POST", "/api/v1/agent/enrol", content=msgspec.json.encode(joins))
        return path, msgspec.to_builtins(Applicant().renews()), f"node {Applicant().node_id}"

    async def of_users(self, method, path):
        match method, path.removeprefix("/api/v1/"):
            case "POST", "users":
                return path, {"Name": "eve", "Capabilities": ["read:job"]}, "user eve"
            case "PUT" | "DELETE", "users/{}":
                await self.people.add("temp", ["read:job"], ["default"])
                return "/api/v1/users/temp", {"Capabilities": ["read:node"]}, "user temp"
            case "POST", "keys":
                return path, {"User": "reader"}, "key "
            case "DELETE", "keys/{}":
                _, record = await self.people.key("reader")
                return f"/api/v1/keys/{record.id}", None, f"key {record.id}"

    async def of_webhooks(self, method, path):
        if not path.startswith(WEBHOOKS):
            return None
        if (method, path) == ("POST", WEBHOOKS):
            return path, {"URL": "https://hooks.example/"}, "webhook w-"
        made = await self.people.ask("admin", "POST", WEBHOOKS, json={"URL": "https://hooks.invalid/"})
        webhook_id = made.json()["Webhook"]["ID"]
        return path.replace("{}", webhook_id), {}, f"webhook {webhook_id}"

    async def done(self):
        self.bench.nodes["north"].script = (E.ACCEPTED, E.RUNNING, E.COMPLETED)
        job_id = await self.submit()
        await self.people.ask("admin", "GET", f"jobs/{job_id}?wait=30s")
        return job_id

    async def running(self):
        self.bench.nodes["north"].script = (E.ACCEPTED, E.RUNNING)
        return await self.submit()

    async def submit(self):
        return (await self.people.ask("admin", "PUT", "jobs", json={"Job": wasm_job()})).json()["JobID"]


async def rows(bench):
    found = await bench.hub.database.read(lambda c: c.execute("SELECT entry FROM audit ORDER BY seq").fetchall())
    return [msgspec.json.decode(bytes(row["entry"])) for row in found]


def changing(bench):
    """Method and shape of every route of the application that may change something."""
    there = {
        (method, shape(route.path_format)) for route in bench.api.routes for method in getattr(route, "methods", set())
    }
    return sorted((method, path) for method, path in there if method != "OPTIONS" and is_change(method, path))


async def test_every_changing_route_writes_exactly_one_row(people):
    await people.bench.node("north")
    changes = Changes(people)
    assert len(changing(people.bench)) > 15
    for method, path in changing(people.bench):
        url, body, target = await changes.request(method, path)
        before = len(await rows(people.bench))
        who = "" if "/agent/" in path else "admin"
        more = {} if body is None else {"content": msgspec.json.encode(body)}
        answer = await people.ask(who, method, url, **more)
        assert answer.status_code == 200, f"{method} {url}: {answer.text}"
        new = (await rows(people.bench))[before:]
        assert len(new) == 1, f"{method} {path}: {new}"
        assert new[0]["action"] == f"{method} {path}"
        assert new[0]["target"].startswith(target), f"{method} {path}: {new[0]}"
        assert new[0]["user"] == (who or "nobody")
        assert bool(new[0].get("key")) == bool(who)
        assert new[0]["address"] == "127.0.0.1"


async def test_each_accepted_job_of_many_has_its_row_and_each_refused_one_none(people):
    jobs = [{"Job": wasm_job(Name=f"j{number}")} for number in range(70)] + [{"Job": wasm_job(Type="x")}, {}]
    before = len(await rows(people.bench))
    told = (await people.ask("admin", "PUT", "submissions", json={"Jobs": jobs})).json()
    new = (await rows(people.bench))[before:]
    assert sorted(row["target"] for row in new) == sorted(
        f"job {item['JobID']}" for item in told["Items"] if "JobID" in item
    )
    assert {row["details"]["name"] for row in new} == {f"j{number}" for number in range(70)}
    assert all(len(row["details"]["specification"]) == 64 for row in new)


async def test_what_is_refused_is_counted_and_not_put_into_the_chain(people):
    await people.bench.node("north")
    before = len(await rows(people.bench))
    for method, path in changing(people.bench):
        url = path.replace("{}", "x")
        for who, more in (("", {}), ("looker", {"json": {}}), ("admin", {"content": b"{"})):
            answer = await people.ask(who, method, url, **more)
            assert 400 <= answer.status_code < 500, f"{who}: {method} {url}: {answer.text}"
    assert len(await rows(people.bench)) == before
    text = (await people.ask("admin", "GET", "/metrics")).text
    refused = {
        sample.labels["code"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "tender_api_refused_total"
    }
    assert refused["Unauthorized"] > 10
    assert refused["Forbidden"] > 10


async def test_what_is_sent_again_with_its_token_is_not_told_twice(people):
    await people.ask("admin", "PUT", "jobs", json={"Job": wasm_job(), "IdempotencyToken": "t"})
    before = len(await rows(people.bench))
    again = await people.ask("admin", "PUT", "jobs", json={"Job": wasm_job(), "IdempotencyToken": "t"})
    assert again.status_code == 200
    assert len(await rows(people.bench)) == before


async def test_the_log_is_found_in_pages_by_user_action_object_and_time(people):
    for number in range(5):
        await people.ask("owner", "PUT", "jobs", json={"Job": wasm_job(Name=f"n{number}", Namespace="mine")})

    async def entries(**query):
        answer = await people.ask("admin", "GET", "/api/v1/audit", params=query)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        return [msgspec.json.decode(item["Entry"]) for item in told["Items"]], told["NextToken"]

    seen, token = [], ""
    while True:
        page, token = await entries(user="owner", reverse="true", limit=2, next_token=token)
        seen += page
        if not token:
            break
    assert [entry["details"]["name"] for entry in seen] == ["n4", "n3", "n2", "n1", "n0"]
    assert len((await entries(object=seen[0]["target"]))[0]) == 1
    assert (await entries(action="DELETE"))[0] == []
    assert (await entries(since="2100-01-01T00:00:00Z"))[0] == []
    for bad in ({"since": "soon"}, {"next_token": "x"}, {"user": "u" * 201}, {"limit": "1001"}, {"after": "-1"}):
        answer = await people.ask("admin", "GET", "/api/v1/audit", params=bad)
        assert answer.status_code == 400, answer.text
        assert {"Field", "Value"} <= set(answer.json()["Details"]), answer.text
        assert answer.json()["Hint"]


@pytest.mark.parametrize("role", ["", "owner", "looker", "operator"])
async def test_the_log_is_for_administrators(people, role):
    assert (await people.ask(role, "GET", "/api/v1/audit")).status_code == (403 if role else 401)


async def test_upkeep_lets_go_of_old_entries_and_ended_keys_and_the_chain_stays_whole(people):
    hub = people.bench.hub
    for _ in range(300):
        await people.ask("admin", "POST", "/api/v1/orchestrator/nodes/token", json={})
    people.keys["short"], short = await people.key("reader", life=1e-6)
    hub.retention.keep = Keeping(most_audit=20, keys=0)
    gone = await hub.retention.round()
    assert gone["keys"] == 1
    assert gone["audit entries"] > 200
    assert short.id not in hub.users.keys
    assert (await people.ask("short", "GET", "jobs")).status_code == 401
    verifier = Verifier()
    told = (await people.ask("admin", "GET", "/api/v1/audit", params={"limit": "1000"})).json()
    for item in told["Items"]:
        verifier.add(item["Entry"].encode(), item["Hash"])
    verifier.end((told["Head"]["Seq"], told["Head"]["Hash"]))
    assert verifier.count == 21
    assert not (await hub.retention.round())["audit entries"]
