"""The whole decision of a node: judges, hold, real hooks; what is held when, and what fits into a bid."""

import asyncio
import json

import msgspec
import pytest

from agent.bidding.bidder import Bidder, fit
from agent.bidding.hook_child import ask_child
from agent.bidding.judges import Rules
from agent.settings.config import BiddingSettings
from tests.support.bidding import GB, MB, facts, invitation, job, ledger, local_input, node
from wire.failures import Reason
from wire.hooks.asking import Hooks
from wire.hooks.settings import HookSettings
from wire.messages import Bid, encode
from wire.resources import Resources
from wire.states import NodeState


@pytest.fixture
def script(tmp_path):
    def write(text, **settings):
        path = tmp_path / "hook"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return HookSettings(name="battery", exec=[str(path)], **settings)

    return write


def bidder(books, *hooks, now=None, **bidding):
    rules = Rules(BiddingSettings(**bidding))
    return Bidder(rules, books, Hooks(hooks, post=ask_child), **({"now": now} if now else {}))


async def test_a_bid_holds_its_resources_and_scores_what_is_left():
    books = ledger()
    decision = await bidder(books, now=lambda: 100.0).decide(invitation(), facts(needed=Resources(cpu=1, memory=GB)))
    assert decision.bid
    assert decision.score == 75.0
    assert books.holds["t-1"] == decision.hold
    assert decision.hold.expires == 160.0
    assert decision.ttl == 30.0
    assert set(decision.steps) == {"judges", "hooks"}


async def test_the_owner_bounds_how_long_resources_are_kept():
    books = ledger()
    decision = await bidder(books, now=lambda: 0.0, hold_ttl=5.0).decide(invitation(hold_ttl=1e9), facts())
    assert (decision.hold.expires, decision.ttl) == (5.0, 5.0)
    decision = await bidder(books, now=lambda: 0.0, hold_ttl=50.0).decide(invitation("t-2", hold_ttl=0), facts())
    assert decision.hold.expires == 50.0


async def test_a_judges_no_holds_nothing_and_asks_no_hook(script, tmp_path):
    books = ledger()
    asked = tmp_path / "asked"
    owner = bidder(books, script(f"touch {asked}"))
    decision = await owner.decide(invitation(), facts(the_node=node(state=NodeState.DRAINING)))
    assert (decision.bid, [reason.code for reason in decision.reasons]) == (False, ["draining"])
    assert not books.holds
    assert not asked.exists()


async def test_a_hooks_no_releases_the_hold(script):
    books = ledger()
    decision = await bidder(books, script("echo 12 % left >&2; exit 1")).decide(invitation(), facts())
    assert [reason.message for reason in decision.reasons] == ["hook battery: 12 % left"]
    assert not books.holds


async def test_the_hold_stands_while_the_hook_thinks(script, tmp_path):
    books = ledger()
    owner = bidder(books, script(f"touch {tmp_path}/asked; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"))
    first = asyncio.ensure_future(
        owner.decide(invitation("t-1"), facts(needed=Resources(cpu=2, memory=GB, disk=60 * GB)))
    )
    async with asyncio.timeout(60):
        while not (tmp_path / "asked").exists():
            await asyncio.sleep(0.01)
    second = await owner.decide(invitation("t-2"), facts(needed=Resources(cpu=1, memory=GB, disk=60 * GB)))
    assert [(reason.code, reason.retryable) for reason in second.reasons] == [("disk", True)]
    (tmp_path / "go").touch()
    assert (await first).bid


async def test_the_hook_is_told_all_about_the_job(script, tmp_path):
    out = tmp_path / "question"
    books = ledger()
    wanted = job(name="$(reboot) '\" \n", env={"A": "b"})
    await bidder(books, script(f"cat > {out}")).decide(
        invitation(), facts(wanted, needed=Resources(cpu=1, memory=GB), inputs=(local_input(),))
    )
    question = json.loads(out.read_text())
    assert (question["node_id"], question["job_id"], question["tender_id"]) == ("n-1", "j-1", "t-1")
    assert question["Job"]["Name"] == "$(reboot) '\" \n"
    assert question["Job"]["ID"] == "j-1"
    assert question["spec"]["Engine"]["Type"] == "wasm"
    assert question["resources"]["requested"] == {"cpu": 1.0, "memory": GB, "disk": 0, "gpu": 0}
    assert question["resources"]["free"]["memory"] == 8 * GB
    assert question["inputs"] == [
        {"type": "local", "alias": "data", "target": "/data", "params": {}, "local": True, "size": 5}
    ]
    assert question["facts"] == {"labels": {"region": "eu"}, "health": {"disk": "pass"}}


async def test_a_hooks_numbers_replace_the_nodes_own(script):
    owner = bidder(ledger(), script("""echo '{"bid": true, "score": 7, "cost": 2, "ttl": "3s", "reason": "ok"}'"""))
    decision = await owner.decide(invitation(), facts())
    assert (decision.score, decision.cost, decision.ttl) == (7.0, 2.0, 3.0)
    assert decision.notes[0].message == "hook battery: ok"


async def test_a_fault_that_the_owner_lets_pass_is_a_note(script):
    decision = await bidder(ledger(), script("echo nonsense", on_error="accept")).decide(invitation(), facts())
    assert decision.bid
    assert [note.code for note in decision.notes] == ["hook-bad-json"]


async def test_a_repeated_invitation_gives_the_same_bid_and_one_hold():
    books = ledger(slots=1)
    owner = bidder(books, now=lambda: 1.0)
    wanted = facts(needed=Resources(cpu=2, memory=1900 * MB))
    first, again = await owner.decide(invitation(), wanted), await owner.decide(invitation(), wanted)
    assert (first.bid, again.bid, first.hold) == (True, True, again.hold)
    assert len(books.holds) == 1
    other = await owner.decide(invitation("t-2"), facts())
    assert [reason.code for reason in other.reasons] == ["busy"]


async def test_a_cancelled_decision_leaves_no_hold(script, tmp_path):
    books = ledger()
    deciding = asyncio.ensure_future(
        bidder(books, script(f"touch {tmp_path}/asked; sleep 60")).decide(invitation(), facts())
    )
    async with asyncio.timeout(60):
        while not (tmp_path / "asked").exists():
            await asyncio.sleep(0.01)
    deciding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deciding
    assert not books.holds


async def test_a_hook_that_outlasts_the_hold_gives_no_bid(script):
    books = ledger()
    clock = iter([0.0, 0.0, 0.0, 0.0, 90.0, 90.0, 90.0])
    owner = bidder(books, script("exit 0"), now=lambda: next(clock))
    decision = await owner.decide(invitation(hold_ttl=60), facts())
    assert [reason.code for reason in decision.reasons] == ["hook-too-slow"]
    assert not books.holds


async def test_one_node_never_promises_more_than_it_has():
    books = ledger()
    owner = bidder(books)
    wanted = facts(needed=Resources(cpu=1, memory=GB))
    decisions = await asyncio.gather(*(owner.decide(invitation(f"t-{n}"), wanted) for n in range(9)))
    assert sum(decision.bid for decision in decisions) == 4
    assert books.free.cpu == 0.0


@pytest.mark.parametrize("text", ["x", "ü", "\U0001f600", '"', "\\"])
def test_any_number_of_reasons_fits_into_a_bid(text):
    many = [Reason(f"code-{n}", text * 500, hint="h" * 300) for n in range(30)]
    fitted = fit(many)
    encode(Bid(ep=2**40, tender_id="t" * 64, bid=False, reasons=fitted, steps={"judges": 0.123, "hooks": 10000.123}))
    assert fitted[0].code in {"code-0", "more"}
    assert "more reasons" in fitted[-1].message
    assert len(msgspec.json.encode(fitted)) <= 1500


def test_few_reasons_keep_their_hints():
    few = [Reason("a", "b", "c")]
    assert fit(few) == few
