"""The ledger: never above capacity, whatever order things come in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.bidding.capacity import FALLBACK, Hold, Ledger, Outcome, with_fallback
from agent.settings.limits import Capacity, Limits, resolve
from tests.support.examples import examples
from wire.failures import InvalidRequest
from wire.resources import Resources

GB = 10**9
TOTAL = Resources(cpu=2.0, memory=4 * GB, disk=10 * GB, gpu=1)
CAPACITY = Capacity(TOTAL, Resources(cpu=1.5, memory=3 * GB, disk=10 * GB, gpu=1))


def amounts():
    return st.builds(
        Resources,
        cpu=st.one_of(st.floats(0, 2), st.sampled_from([0.1, 0.2, 0.3, 0.7])),
        memory=st.integers(0, 4 * GB),
        disk=st.integers(0, 11 * GB),
        gpu=st.integers(0, 2),
    )


class LedgerMachine(RuleBasedStateMachine):
    """Holds, awards, losses, ends, time and restarts in any order, against a model of plain dictionaries."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger(CAPACITY, max_executions=6)
        self.now = 100.0
        self.holds: dict[str, Hold] = {}
        self.allocations: dict[str, Resources] = {}

    def pass_time(self):
        self.holds = {key: hold for key, hold in self.holds.items() if hold.expires > self.now}

    @rule(name=st.sampled_from("abcdefgh"), resources=amounts(), ttl=st.floats(0.5, 60))
    def hold(self, name, resources, ttl):
        self.pass_time()
        outcome = self.ledger.try_hold(name, resources, ttl, self.now)
        if outcome.granted and name not in self.holds:
            self.holds[name] = Hold(name, resources, self.now + ttl)
        assert outcome.granted == (name in self.holds)

    @rule(name=st.sampled_from("abcdefgh"), execution=st.sampled_from("uvwxyz"), grow=st.booleans())
    def award(self, name, execution, grow):
        self.pass_time()
        hold = self.holds.get(name)
        known = execution in self.allocations
        wanted = hold.resources if hold else Resources(cpu=0.3, memory=GB)
        if grow:
            wanted = replace_cpu(wanted, 0.4)
        outcome = self.ledger.allocate(execution, wanted, self.now, tender_id=name)
        if hold and not grow:
            assert outcome is Outcome.ALLOCATED
        if outcome.granted and not known:
            self.allocations[execution] = wanted
            self.holds.pop(name, None)

    @rule(name=st.sampled_from("abcdefgh"))
    def lose(self, name):
        self.pass_time()
        self.ledger.expire(self.now)
        assert self.ledger.release(name) == (self.holds.pop(name, None) is not None)

    @rule(execution=st.sampled_from("uvwxyz"))
    def end(self, execution):
        assert self.ledger.free_allocation(execution) == (self.allocations.pop(execution, None) is not None)

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds):
        self.now += seconds
        before = set(self.holds)
        self.pass_time()
        assert set(self.ledger.expire(self.now)) == before - set(self.holds)

    @precondition(lambda self: self.holds or self.allocations)
    @rule()
    def restart(self):
        self.pass_time()
        self.ledger = Ledger(CAPACITY, max_executions=6)
        self.ledger.restore(self.allocations, self.holds.values(), self.now)

    @invariant()
    def books_agree(self):
        assert set(self.ledger.allocations) == set(self.allocations)
        self.pass_time()
        self.ledger.expire(self.now)
        assert set(self.ledger.holds) == set(self.holds)

    @invariant()
    def never_above_capacity(self):
        rows = [*self.ledger.allocations.values(), *(hold.resources for hold in self.ledger.holds.values())]
        assert sum(row.cpu for row in rows) <= TOTAL.cpu + 1e-6
        assert sum(row.memory for row in rows) <= TOTAL.memory
        assert sum(row.disk for row in rows) <= TOTAL.disk
        assert sum(row.gpu for row in rows) <= TOTAL.gpu
        assert len(rows) <= 6
        free = self.ledger.free
        assert min(free.cpu, free.memory, free.disk, free.gpu) >= 0


def replace_cpu(resources, more):
    return Resources(resources.cpu + more, resources.memory, resources.disk, resources.gpu)


TestLedgerNeverGoesAboveCapacity = LedgerMachine.TestCase
TestLedgerNeverGoesAboveCapacity.settings = settings(max_examples=examples(50), stateful_step_count=40)


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.7, 0.0001]), max_size=60))
def test_everything_comes_back_to_the_last_thousandth(cpus):
    ledger = Ledger(Capacity(Resources(cpu=100, memory=GB), Resources(cpu=100, memory=GB)))
    for number, cpu in enumerate(cpus):
        assert ledger.try_hold(str(number), Resources(cpu=cpu), 10, 0.0) is Outcome.HELD
    for number in range(len(cpus)):
        ledger.release(str(number))
    assert ledger.free == ledger.total


def test_ten_tenths_of_a_core_fill_one_core():
    ledger = Ledger(Capacity(Resources(cpu=1), Resources(cpu=1)))
    outcomes = [ledger.try_hold(str(n), Resources(cpu=0.1), 10, 0.0) for n in range(11)]
    assert outcomes == [Outcome.HELD] * 10 + [Outcome.NO_ROOM]


def test_refusals_say_whether_waiting_would_help():
    ledger = Ledger(CAPACITY, max_executions=2)
    assert ledger.try_hold("a", Resources(cpu=1.6), 10, 0.0) is Outcome.TOO_LARGE
    assert ledger.try_hold("a", Resources(cpu=1.5), 10, 0.0) is Outcome.HELD
    assert ledger.try_hold("b", Resources(cpu=0.6), 10, 0.0) is Outcome.NO_ROOM
    assert ledger.try_hold("b", Resources(cpu=0.5), 10, 0.0) is Outcome.HELD
    assert ledger.try_hold("c", Resources(), 10, 0.0) is Outcome.NO_SLOT


@pytest.mark.parametrize(
    "wrong", [Resources(cpu=-1), Resources(memory=-1), Resources(cpu=float("nan")), Resources(cpu=float("inf"))]
)
def test_impossible_amounts_fit_nowhere(wrong):
    assert Ledger(CAPACITY).try_hold("a", wrong, 10, 0.0) is Outcome.TOO_LARGE


def test_a_repeated_invitation_keeps_its_hold_and_its_end():
    ledger = Ledger(CAPACITY)
    ledger.try_hold("t", Resources(cpu=1), 10, 0.0)
    assert ledger.try_hold("t", Resources(cpu=1), 10, 9.0) is Outcome.HELD
    assert ledger.holds["t"].expires == 10.0
    assert ledger.free.cpu == 1.0


def test_an_expired_hold_still_becomes_an_allocation_when_there_is_room():
    ledger = Ledger(CAPACITY)
    ledger.try_hold("t", Resources(cpu=1), 5, 0.0)
    assert ledger.allocate("e", Resources(cpu=1), 6.0, tender_id="t") is Outcome.ALLOCATED
    ledger.free_allocation("e")
    ledger.try_hold("t2", Resources(cpu=1.5), 5, 10.0)
    assert ledger.allocate("e2", Resources(cpu=1), 11.0, tender_id="t") is Outcome.NO_ROOM


def test_work_that_exists_is_counted_after_the_owner_lowered_the_limits():
    ledger = Ledger(replace_total(Resources(cpu=1, memory=GB, disk=GB)))
    ledger.restore({"e": Resources(cpu=1.5, memory=2 * GB)}, [Hold("t", Resources(cpu=0.1), 50.0)], 0.0)
    assert ledger.free == Resources(cpu=0.0, memory=0, disk=GB)
    assert not ledger.holds
    assert ledger.try_hold("n", Resources(cpu=0.1), 5, 0.0) is Outcome.NO_ROOM


def replace_total(total):
    return Capacity(total, total)


def test_a_job_that_names_nothing_needs_a_little():
    assert with_fallback(Resources()) == FALLBACK
    assert with_fallback(Resources(cpu=1, disk=5)) == Resources(cpu=1, memory=FALLBACK.memory, disk=5)


DETECTED = Resources(cpu=3, memory=1_000_001, disk=GB, gpu=2)


def test_limits_without_settings_are_four_fifths_and_all_gpus():
    capacity = resolve(Limits(), DETECTED)
    assert capacity.total == Resources(cpu=2.4, memory=800_000, disk=800_000_000, gpu=2)
    assert capacity.per_job == capacity.total


def test_limits_are_percentages_or_amounts_and_a_job_never_gets_more_than_all():
    limits = Limits(total_cpu="2500m", total_memory="50%", job_cpu="50%", job_memory="100%", job_disk="1MB")
    capacity = resolve(limits, DETECTED)
    assert capacity.total.cpu == 2.5
    assert capacity.per_job == Resources(cpu=1.5, memory=500_000, disk=1_000_000, gpu=2)


@pytest.mark.parametrize("text", ["101%", "-1", "lots", "1e9%", "nan", "%"])
def test_a_limit_that_is_no_amount_is_refused(text):
    with pytest.raises(InvalidRequest):
        resolve(Limits(total_cpu=text), DETECTED)


def test_work_that_has_ended_holds_only_its_disk():
    ledger = Ledger(CAPACITY)
    ledger.allocate("e-1", Resources(cpu=1, memory=GB, disk=GB, gpu=1), 0.0)
    ledger.keep_disk("e-1")
    ledger.keep_disk("e-2")
    assert ledger.allocations == {"e-1": Resources(disk=GB)}
    assert ledger.free == TOTAL - Resources(disk=GB)
