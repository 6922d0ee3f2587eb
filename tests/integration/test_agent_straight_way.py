"""The agent over a real broker with a scripted hub: invitation, bid, order, work, reports, receipt."""

import hashlib

import msgspec
import pytest

from agent.tendering import AT_ONCE
from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job, wasm_job
from tests.support.wat import Program
from wire import messages as m
from wire.files import manifest
from wire.jobs.job import Constraint, Engine, Job
from wire.resources import Resources
from wire.states import Desired, NodeState
from wire.states import ExecutionState as E

__all__ = ["agent_bench"]


async def test_an_auctioned_job_is_run_reported_and_forgotten_by_its_receipt(bench: AgentBench):
    async with bench.agent() as parts:
        status = await bench.hub.online()
        assert (status.state, status.ep) == (NodeState.ONLINE, 1)
        assert "fake" in bench.hub.all(m.Capabilities)[-1].engines
        await bench.hub.auction("e-1", fake_job(stdout="hello", stderr="there"))
        done = await bench.hub.status("e-1", E.COMPLETED)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "hello", "there")
        assert {"accept", "inputs", "start", "run"} <= done.steps.keys()
        assert [s.ver for s in bench.hub.statuses["e-1"]] == list(range(1, done.ver + 1))
        await eventually(lambda: not parts.store.executions.known)
        await bench.hub.until(lambda: not bench.hub.all(m.Held)[-1].items)
        assert not parts.ledger.allocations
        assert not parts.ledger.holds
        await eventually(lambda: not (parts.root / "e-1").exists())
    assert bench.hub.all(m.NodeStatus)[-1].state is NodeState.OFFLINE


async def test_a_wasm_module_that_is_a_blob_of_the_hub_is_fetched_once_and_run(bench: AgentBench):
    module = Program().print("from wasm\n").wasm()
    name = hashlib.sha256(module).hexdigest()
    bench.hub.blobs[name] = module
    job = wasm_job(f"blob:sha256:{name};size={len(module)};type=application/wasm")
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", job)
        assert (await bench.hub.status("e-1", E.COMPLETED)).stdout == "from wasm\n"
        await bench.hub.auction("e-2", job)
        assert (await bench.hub.status("e-2", E.COMPLETED)).stdout == "from wasm\n"
    assert len([answer for answer in bench.hub.all(m.Response) if answer.args.get("sha256") == name]) == 1


async def test_a_program_that_fails_is_a_failed_execution_with_its_exit_code(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(exit_code=3, stderr="no"))
        failed = await bench.hub.status("e-1", E.FAILED)
        assert (failed.exit_code, failed.stderr) == (3, "no")
        assert failed.reason is not None
        assert (failed.reason.code, "3" in failed.reason.message) == ("exit", True)
        await eventually(lambda: not parts.store.executions.known)


async def test_a_job_that_does_not_fit_is_declined_with_all_reasons(bench: AgentBench):
    job = msgspec.structs.replace(fake_job(), tasks=[msgspec.structs.replace(fake_job().task, engine=Engine("cobol"))])
    async with bench.agent() as parts:
        await bench.hub.online()
        bid = await bench.hub.invite("t-1", job, requested=Resources(cpu=100_000))
        assert not bid.bid
        assert {reason.code for reason in bid.reasons} >= {"engine", "cpu"}
        assert not parts.ledger.holds


async def test_a_lost_auction_frees_the_hold(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        assert (await bench.hub.invite("t-1", fake_job())).bid
        assert list(parts.ledger.holds) == ["t-1"]
        await bench.hub.say(m.Award(ep=1, tender_id="t-1", outcome="lost"), "t-1")
        await bench.hub.invite("t-2", fake_job())
        assert list(parts.ledger.holds) == ["t-2"]


async def test_a_repeated_invitation_gets_the_same_answer_and_no_second_hold(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        first = await bench.hub.invite("t-1", fake_job())
        again = await bench.hub.invite("t-1", fake_job())
        assert (again.score, again.bid) == (first.score, first.bid)
        assert list(parts.ledger.holds) == ["t-1"]
        assert parts.counters["repeated-invitation"] == 1


async def test_more_invitations_than_it_can_decide_at_once_are_declined_for_now(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        away = m.BlobRef("ab" * 32, 100)  # the hub never sends it, so that none of these is decided
        for number in range(AT_ONCE):
            waits = bench.hub.invitation(f"t-{number}", fake_job(), job_ref=away)
            await bench.hub.say(msgspec.structs.replace(waits, job=None), f"t-{number}")
        refused = await bench.hub.invite("t-more", fake_job())
        assert not refused.bid
        assert [(reason.code, reason.retryable) for reason in refused.reasons] == [("busy", True)]
        assert not parts.ledger.holds
        for number in range(AT_ONCE):
            await bench.hub.say(m.Award(ep=1, tender_id=f"t-{number}", outcome="closed"), f"t-{number}")
        await eventually(lambda: not parts.tendering.deciding)
        assert (await bench.hub.invite("t-later", fake_job())).bid


async def test_a_stopped_execution_ends_as_cancelled_and_frees_its_room(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(run_for=600))
        await bench.hub.status("e-1", E.RUNNING)
        await bench.hub.want(("e-1", 2, Desired.STOP))
        cancelled = await bench.hub.status("e-1", E.CANCELLED)
        assert cancelled.reason is not None
        assert cancelled.reason.code == "cancelled"
        await eventually(lambda: not parts.store.executions.known)
        assert not parts.ledger.allocations


async def test_an_order_that_is_stopped_before_it_comes_never_begins(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.want(("e-1", 2, Desired.STOP))
        await bench.hub.status("e-1", E.CANCELLED)
        await bench.hub.award("e-1", "", fake_job())
        await bench.hub.auction("e-2", fake_job())
        await bench.hub.status("e-2", E.COMPLETED)
        assert [status.state for status in bench.hub.statuses["e-1"]] == [E.CANCELLED]
        assert not (parts.root / "e-1").exists()


async def test_a_wanted_execution_whose_order_was_lost_is_asked_for(bench: AgentBench):
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.want(("e-1", 1, Desired.RUN))
        for before in range(2):  # the answer may be lost as well
            asked = await bench.hub.next(m.Response, before)
            assert asked.args == {"execution_id": "e-1"}
        await bench.hub.award("e-1", "", fake_job())
        await bench.hub.status("e-1", E.COMPLETED)


async def test_room_that_is_reserved_for_inputs_does_not_limit_the_work(bench: AgentBench):
    module = Program().print("x" * 100, times=100).wasm()
    assert len(module) < 10_000
    name = hashlib.sha256(module).hexdigest()
    bench.hub.blobs[name] = module
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", wasm_job(f"blob:sha256:{name};size={len(module)};type=application/wasm"))
        await bench.hub.status("e-1", E.COMPLETED)
        assert (bench.data / "executions/e-1/results/stdout").stat().st_size == 10_000


async def test_decisions_know_how_the_box_is(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.next(m.Health)  # the look that the link's opening brings is over
        parts.health.verdicts = {"disk": "fail"}
        declined = await bench.hub.invite("t-1", fake_job())
        assert [reason.code for reason in declined.reasons] == ["no-disk"]


async def test_mere_absence_from_the_wanted_set_never_ends_work(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(run_for=600))
        await bench.hub.status("e-1", E.RUNNING)
        await bench.hub.want()
        await bench.hub.auction("e-2", fake_job())
        await bench.hub.status("e-2", E.COMPLETED)
        assert parts.store.executions.known["e-1"].state is E.RUNNING


async def test_a_local_result_stays_and_is_served_by_the_hashes_of_its_manifest(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(publisher="local", stdout="kept"))
        done = await bench.hub.status("e-1", E.COMPLETED)
        assert done.result is not None
        await eventually(lambda: not parts.store.executions.known)
        await parts.tidying.close()
        listed = manifest.decode(await fetched(bench, "e-1", done.result.manifest))
        assert listed.identity == done.result.manifest
        files = {file.path: await fetched(bench, "e-1", file.sha256) for file in listed.files if file.size}
        assert (files["stdout"], files["exitCode"]) == (b"kept", b"0")
        assert {file.path for file in listed.files} == {"stdout", "stderr", "exitCode"}  # also where nothing was said
        assert [entry.name for entry in (parts.root / "e-1").iterdir()] == ["results"]


async def fetched(bench: AgentBench, execution_id: str, sha256: str) -> bytes:
    before = len(bench.hub.all(m.Response))
    args = {"execution_id": execution_id, "sha256": sha256}
    await bench.hub.say(m.Command(ep=bench.hub.ep, seq=before + 1, id=f"r-{before}", args=args), "blob")
    answer = await bench.hub.next(m.Response, before)
    assert answer.error is None, answer.error
    assert answer.id == f"r-{before}"
    assert hashlib.sha256(answer.data).hexdigest() == sha256
    return answer.data


@pytest.mark.parametrize(("verb", "state"), [("drain", NodeState.DRAINING), ("maintenance", NodeState.MAINTENANCE)])
async def test_a_draining_node_finishes_its_work_and_takes_no_new(bench: AgentBench, verb: str, state: NodeState):
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(run_for=0.5))
        await bench.hub.say(m.Command(ep=1, seq=1), verb)
        await bench.hub.until(lambda: bench.hub.all(m.NodeStatus)[-1].state is state)
        declined = await bench.hub.invite("t-2", fake_job())
        assert [reason.code for reason in declined.reasons] == [state.value]
        await bench.hub.status("e-1", E.COMPLETED)
        await bench.hub.say(m.Command(ep=1, seq=2), "undrain")
        await bench.hub.until(lambda: bench.hub.all(m.NodeStatus)[-1].state is NodeState.ONLINE)


async def test_labels_that_operators_gave_count_beside_the_owners_and_never_above(bench: AgentBench):
    def wants(key: str, value: str) -> Job:
        return msgspec.structs.replace(fake_job(), constraints=[Constraint(key, "=", [value])])

    async with bench.agent(labels={"zone": "eu"}):
        await bench.hub.online()
        given = {"hall": "a", "zone": "us"}
        for number, (key, value, bid) in enumerate([("hall", "a", True), ("zone", "us", False), ("zone", "eu", True)]):
            answer = await bench.hub.invite(f"t-{number}", wants(key, value), labels=given)
            assert answer.bid is bid, answer.reasons
        assert not (await bench.hub.invite("t-9", wants("hall", "a"))).bid
        await bench.hub.award("e-9", "", wants("hall", "a"), labels=given)
        await bench.hub.status("e-9", E.COMPLETED)


@pytest.mark.parametrize("code", ["timeout", "oom"])
async def test_how_the_work_ended_is_told_by_its_reason(bench: AgentBench, code: str):
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(reason=code))
        ended = await bench.hub.status("e-1", E.TIMED_OUT if code == "timeout" else E.FAILED)
        assert ended.reason is not None
        assert ended.reason.code == code
