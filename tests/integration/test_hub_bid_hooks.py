"""The hub owner's hooks on bids: real programs and a real server, asked by the hub about scripted nodes."""

import asyncio
import json

import pytest

from tests.support.bid_hooks import JSON, bids, counted, ended, hooked, patient, script_fixture, tenders, told
from tests.support.hookserver import hook_server, plain
from tests.support.hub_bench import hub_bench, until
from tests.support.hub_process import PATIENT, HubProcess, wasm_job
from tests.support.node_double import NodeDouble
from wire.resources import Resources

FIXTURES = (script_fixture,)


async def test_a_program_excludes_a_node_and_scores_another(tmp_path, script):
    hook = script(
        """
case "$(cat)" in
  *'"node_name":"north"'*) echo "north is too hot" >&2; exit 1;;
  *'"node_name":"south"'*) echo '{"bid": true, "score": 70, "reason": "cool"}';;
esac
"""
    )
    async with hub_bench(tmp_path / "hub", policy=hooked(hook, weights={"hook": 0.5})) as bench:
        north, south, east = [await bench.node(name) for name in ("north", "south", "east")]
        north.on_invite = lambda i: north.bid(i, score=100)
        south.on_invite = lambda i: south.bid(i, score=20)
        east.on_invite = lambda i: east.bid(i, score=40)
        job_id = await bench.submit(wasm_job(**PATIENT))
        assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
        found = await bids(bench, job_id)
        assert {name: bid["Outcome"] for name, bid in found.items()} == {
            "north": "excluded",
            "south": "won",
            "east": "lost",
        }
        assert found["north"]["Reasons"] == [
            {"Code": "hub-hook-said-no", "Message": "hub's hook rack: north is too hot", "Hint": ""}
        ]
        assert found["south"]["Ranks"]["hook"] == "35"
        assert found["south"]["Steps"]["hub_hooks"] > 0
        assert [award.outcome for award in north.awards] == ["lost"], "its hold is released"
        assert (await told(bench, job_id))["Excluded north"] == "hub-hook-said-no: hub's hook rack: north is too hot"
        why = await bench.get(f"jobs/{job_id}/why")
        assert [(one["Code"], one["Nodes"]) for one in why["Reasons"]] == [("hub-hook-said-no", ["north"])]
        text = (await bench.call("GET", "/metrics")).text
        answers = counted(text, "tender_bid_hook_seconds_count")
        assert answers == {'{answer="no",hook="rack"}': 1.0, '{answer="yes",hook="rack"}': 2.0}
        assert counted(text, "tender_bids_total")['{answer="excluded"}'] == 1.0


async def test_a_program_gets_the_bid_the_job_and_the_node(tmp_path, script):
    seen = tmp_path / "seen"
    hook = script(f"cat > {seen}; env > {seen}.env")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        north = await bench.node("north", labels={"region": "eu"})
        north.on_invite = lambda i: north.bid(i, score=33)
        job_id = await bench.submit(wasm_job(Name="weather", Count=1))
        await bench.finished(job_id)
        asked = json.loads(seen.read_text())
        assert (asked["node_id"], asked["node_name"], asked["job_id"]) == (north.id, "north", job_id)
        assert asked["bid"] == {"score": 33.0, "cost": 0.0, "ttl": 30.0, "locality": 0.0}
        assert (asked["Job"]["Name"], asked["Job"]["ID"]) == ("weather", job_id)
        assert asked["spec"]["Engine"]["Type"] == "wasm"
        assert asked["facts"]["labels"] == {"region": "eu"}
        assert asked["resources"]["free"] == Resources(cpu=64, memory=64 * 10**9, disk=10**12).plain()
        assert asked["rank"] == sum(asked["ranks"].values())
        env = dict(line.split("=", 1) for line in (tmp_path / "seen.env").read_text().splitlines())
        assert {key: env[key] for key in ("TENDER_NODE_ID", "TENDER_JOB_ID")} == {
            "TENDER_NODE_ID": north.id,
            "TENDER_JOB_ID": job_id,
        }
        assert set(env) - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "TENDER_NODE_ID", "TENDER_JOB_ID"}


async def test_a_url_excludes_and_scores_as_a_program_does(tmp_path):
    async with hook_server() as server:
        hook = {"name": "policy", "http": f"http://127.0.0.1:{server.port}/decide"}
        async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
            await bench.node("north")
            server.script = plain("200 OK", b'{"score": 12}', JSON)
            first = await bench.submit(wasm_job())
            await bench.finished(first)
            assert (await bids(bench, first))["north"]["Ranks"]["hook"] == "12"
            assert json.loads(server.requests[0][1])["job_id"] == first
            server.script = plain("200 OK", b'{"score": -1, "reason": "not this job"}', JSON)
            second = await bench.submit(wasm_job())
            job = await bench.finished(second)
            assert job["State"]["StateType"] == "Failed"
            assert "1 × hub-hook-said-no: hub's hook policy: not this job" in job["State"]["Message"]


@pytest.mark.parametrize("kind", ["ops", "daemon"])
async def test_a_job_that_goes_to_every_node_keeps_off_those_that_a_hook_excludes(tmp_path, script, kind):
    hook = script("""case "$(cat)" in *'"node_name":"north"'*) exit 3;; esac""")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        north, south = await bench.node("north"), await bench.node("south")
        job_id = await bench.submit(wasm_job(Type=kind, **PATIENT))
        await until(lambda: south.orders)
        async with asyncio.timeout(60):
            while len([one for one in await tenders(bench, job_id) if one["State"] != "open"]) < 2:
                await asyncio.sleep(0.01)
        assert north.orders == []


async def test_an_excluded_node_is_not_asked_again_while_others_are(tmp_path, script):
    gate = tmp_path / "gate"
    hook = script(f"test -e {gate}")
    async with hub_bench(tmp_path / "hub", policy=hooked(hook)) as bench:
        north = await bench.node("north")
        asked: list[str] = []
        north.on_invite = lambda i: (asked.append(i.tender_id), north.bid(i))[1]
        job_id = await bench.submit(patient())
        await ended(bench, job_id)
        gate.touch()
        south = await bench.node("south")
        assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
        assert (len(asked), len(south.orders)) == (1, 1)


async def test_a_hub_process_asks_the_hooks_of_its_policy_file(tmp_path, script):
    async with hook_server() as server:
        server.script = plain("200 OK", b'{"score": 30}', JSON)
        program = script("""case "$(cat)" in *'"node_name":"north"'*) echo hot >&2; exit 1;; esac""")["exec"][0]
        policy = tmp_path / "policy.toml"
        policy.write_text(
            f"[[bidding.hooks]]\nname = 'rack'\nexec = ['{program}']\ntimeout = '5s'\n"
            f"[[bidding.hooks]]\nname = 'url'\nhttp = 'http://127.0.0.1:{server.port}/'\ntimeout = '5s'\n"
        )
        async with HubProcess(tmp_path / "hub", "--policy", str(policy)) as hub:
            nodes = [NodeDouble(name) for name in ("north", "south")]
            for node in nodes:
                await node.join(await hub.token(), tmp_path / node.name)
            async with asyncio.timeout(60):
                while len((await hub.get("nodes", **{"filter-status": "connected"}))["Nodes"]) < 2:
                    await asyncio.sleep(0.02)
            job_id = await hub.submit(wasm_job(**PATIENT))
            assert (await hub.finished(job_id))["State"]["StateType"] == "Completed"
            (tender,) = (await hub.get(f"jobs/{job_id}/why"))["Tenders"]
            found = {bid["NodeName"]: (bid["Outcome"], bid["Ranks"].get("hook")) for bid in tender["Bids"]}
            assert found == {"north": ("excluded", None), "south": ("won", "30")}
            for node in nodes:
                await node.leave()
