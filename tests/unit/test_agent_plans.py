"""The agent's pure decisions: recovery, wishes, verdicts, what is kept, environment, ports."""

import socket

import msgspec
import pytest

from agent.executors.base import ExitReport, Handle, Port
from agent.files.tidying import Bounds, surplus
from agent.recovery import CarryOn, CleanUp, End, EndOrphan
from agent.recovery import plan as recovery_plan
from agent.settings.config import read
from agent.steps.networks import network_of
from agent.steps.ports import Ports
from agent.steps.variables import filled_in
from agent.steps.verdict import begins_again, cut_off_by_reboot, verdict
from agent.steps.work import system_env, timeout_of
from agent.store.records import Execution, KeptResult
from agent.wishes import Ask, Forget, Stop, TurnAway
from agent.wishes import plan as wishes_plan
from tests.support.orders import order_of
from wire.failures import ExecutionFailed, Reason
from wire.jobs import job as spec
from wire.messages import ExecutionStatus, WantItem
from wire.resources import Resources
from wire.states import Desired, JobType
from wire.states import ExecutionState as E


def execution(name: str = "e-1", state: E = E.RUNNING, **fields) -> Execution:
    job = spec.Job(name="j", type="batch", tasks=[spec.Task(engine=spec.Engine("wasm"))])
    order = order_of(name, job=job, slot=2, count=5)
    status = ExecutionStatus(id=name, ver=3, state=state)
    told = {"id": name, "ver": 3, "state": state, "desired": Desired.RUN, "desired_ver": 1, "order": order}
    return Execution(**(told | {"requested": Resources(cpu=1), "status": status, "told": 3} | fields))


def handle(name: str = "e-1") -> Handle:
    return Handle("wasm", name, f"/x/{name}")


# --- recovery ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [E.ACCEPTED, E.PREPARING, E.RUNNING, E.PUBLISHING])
def test_what_lives_is_carried_on_and_found_work_is_attached_to(state):
    row = execution(state=state)
    assert recovery_plan([row], {}) == [CarryOn(row, None)]
    assert recovery_plan([row], {"e-1": handle()}) == [CarryOn(row, handle())]


def test_work_that_was_made_ready_but_never_let_go_is_started():
    row = execution(state=E.ACCEPTED)
    assert recovery_plan([row], {"e-1": msgspec.structs.replace(handle(), begun=False)}) == [CarryOn(row, None)]


def test_a_stored_handle_serves_while_the_executor_cannot_list_its_work():
    row = execution(handle=handle())
    assert recovery_plan([row], {}) == [CarryOn(row, handle())]


def test_work_that_is_not_wanted_any_more_is_ended():
    row = execution(desired=Desired.STOP)
    assert recovery_plan([row], {"e-1": handle()}) == [End(row, handle())]


def test_work_of_an_ended_execution_is_cleaned_up_and_unknown_work_is_ended():
    row = execution(state=E.COMPLETED)
    found = {"e-1": handle(), "e-2": handle("e-2")}
    assert recovery_plan([row], found) == [CleanUp(handle()), EndOrphan(handle("e-2"))]


# --- wishes -----------------------------------------------------------------------------------------


def wanted(*items: tuple[str, int, Desired]) -> dict[str, WantItem]:
    return {item[0]: WantItem(*item) for item in items}


def test_a_set_that_agrees_needs_nothing():
    assert wishes_plan(wanted(("e-1", 1, Desired.RUN)), {"e-1": execution()}, 0) == []


def test_unknown_work_is_asked_for_or_turned_away():
    items = wanted(("e-1", 1, Desired.RUN), ("e-2", 1, Desired.STOP), ("e-3", 1, Desired.FORGET))
    assert wishes_plan(items, {}, 0) == [Ask("e-1"), TurnAway("e-2"), TurnAway("e-3")]


def test_only_a_wish_that_is_not_older_stops_work():
    row = execution(desired_ver=3)
    assert wishes_plan(wanted(("e-1", 3, Desired.STOP)), {"e-1": row}, 0) == [Stop("e-1", Desired.STOP, 3)]
    assert wishes_plan(wanted(("e-1", 2, Desired.STOP)), {"e-1": row}, 0) == []


@pytest.mark.parametrize("state", [E.ACCEPTED, E.PREPARING, E.RUNNING, E.PUBLISHING])
def test_absence_never_ends_what_lives(state):
    assert wishes_plan({}, {"e-1": execution(state=state)}, 99) == []


def test_what_is_over_told_and_no_longer_wanted_is_forgotten():
    row = execution(state=E.COMPLETED)
    assert wishes_plan({}, {"e-1": row}, 3) == [Forget(row)]
    assert wishes_plan({}, {"e-1": row}, 2) == []
    assert wishes_plan(wanted(("e-1", 1, Desired.RUN)), {"e-1": row}, 3) == []


# --- verdicts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "success", "state", "code"),
    [
        (ExitReport(exit_code=0), [0], E.COMPLETED, None),
        (ExitReport(exit_code=3), [0, 3], E.COMPLETED, None),
        (ExitReport(exit_code=0), [3], E.FAILED, "exit"),
        (ExitReport(exit_code=1), [0], E.FAILED, "exit"),
        (ExitReport(exit_code=1), [], E.FAILED, "exit"),
        (ExitReport(), [0], E.FAILED, "vanished"),
        (ExitReport(reason=Reason("timeout", "t")), [0], E.TIMED_OUT, "timeout"),
        (ExitReport(reason=Reason("cancelled", "c")), [0], E.CANCELLED, "cancelled"),
        (ExitReport(exit_code=137, reason=Reason("oom", "o")), [0], E.FAILED, "oom"),
    ],
)
def test_every_end_has_one_verdict(report, success, state, code):
    found, reason = verdict(report, success)
    assert (found, reason.code if reason else None) == (state, code)


def test_only_work_that_vanished_over_another_boot_was_cut_off_by_a_reboot():
    gone = ExitReport(reason=Reason("vanished", "v"))
    assert cut_off_by_reboot(gone, "a", "b")
    assert not cut_off_by_reboot(gone, "a", "a")
    assert not cut_off_by_reboot(ExitReport(exit_code=0), "a", "b")


# --- what is kept -----------------------------------------------------------------------------------


def test_kept_results_go_when_their_time_is_over_or_room_is_short():
    kept = [KeptResult("e-1", "m", 10, 5), KeptResult("e-2", "m", Bounds().size, 50), KeptResult("e-3", "m", 10, 60)]
    assert [one.execution_id for one in surplus(kept, 10, Bounds())] == ["e-1", "e-2"]
    assert list(surplus(kept[2:], 10, Bounds())) == []


# --- work -------------------------------------------------------------------------------------------


def test_the_work_knows_itself_under_both_names():
    env = system_env(execution(), "n-1", [Port("WEB", 20_001, 80)])
    assert env["TENDER_EXECUTION_ID"] == env["BACALHAU_EXECUTION_ID"] == "e-1"
    assert (env["BACALHAU_PARTITION_INDEX"], env["BACALHAU_PARTITION_COUNT"]) == ("2", "5")
    assert (env["BACALHAU_NODE_ID"], env["BACALHAU_JOB_TYPE"]) == ("n-1", "batch")
    assert (env["TENDER_PORT_WEB"], env["TENDER_HOST_PORT_WEB"]) == ("80", "20001")


def test_only_allowed_variables_are_forwarded():
    env = {"A": "plain", "B": "env:AWS_REGION"}
    assert filled_in(env, ["AWS_*"], {"AWS_REGION": "eu"}) == {"A": "plain", "B": "eu"}
    for allowed, environ in ((["WS_*"], {"AWS_REGION": "eu"}), (["AWS_*"], {})):
        with pytest.raises(ExecutionFailed):
            filled_in(env, allowed, environ)


@pytest.mark.parametrize(
    ("engine", "network", "rejected", "expected"),
    [
        ("docker", "Default", False, "bridge"),
        ("podman", "Default", False, "bridge"),
        ("podman", "Default", True, "none"),
        ("wasm", "Default", False, "none"),
        ("docker", "Full", False, "host"),
        ("docker", "None", False, "none"),
        ("wasm", "HTTP", False, "http"),
    ],
)
def test_the_default_network_is_that_of_bacalhau(engine, network, rejected, expected):
    task = spec.Task(engine=spec.Engine(engine), network=spec.Network(network))
    assert network_of(task, rejected=rejected) == expected


def test_only_work_that_ends_has_a_time_limit():
    row = execution()
    task = spec.Task(timeouts=spec.Timeouts(execution_timeout=5, total_timeout=9))
    limited = msgspec.structs.replace(row.order, job=msgspec.structs.replace(row.job, tasks=[task]))
    assert timeout_of(msgspec.structs.replace(row, order=limited)) == 5.0
    assert timeout_of(row) is None
    service = msgspec.structs.replace(limited, job_type=JobType.SERVICE)
    assert timeout_of(msgspec.structs.replace(row, order=service)) is None


def test_ports_are_given_once_and_taken_back():
    ports = Ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(ExecutionFailed):
            ports.give("e-0", [spec.Port("A", static=number)], bridged=False)
    first = ports.give("e-1", [spec.Port("A", target=80, host_network="127.0.0.1"), spec.Port("B")], bridged=True)
    assert (first[0].target, first[0].address, first[1].address) == (80, "127.0.0.1", "")
    assert first[1].target == first[1].host
    assert ports.used == {port.host for port in first}
    ports.take_back("e-1")
    assert not ports.used


def test_the_owner_says_how_long_and_how_much_is_kept():
    bounds = Bounds.of(read({"keep": {"results": 1, "results_for": "1h", "results_size": "1kB"}}).keep)
    kept = [KeptResult(f"e-{number}", "m", 600, until=100) for number in range(1, 4)]
    assert (bounds.seconds, bounds.size) == (3600, 1000)
    assert [one.execution_id for one in surplus(kept, 10, bounds)] == ["e-1", "e-2"]


def test_only_what_stays_is_begun_again_by_a_node_that_is_alone():
    failed, stopped = ExitReport(exit_code=3), ExitReport(reason=Reason("fenced", "too long alone"))
    killed = ExitReport(reason=Reason("oom", "out of memory"))
    for kind in (JobType.SERVICE, JobType.DAEMON):
        assert begins_again(kind, failed, alone=True)
        assert begins_again(kind, killed, alone=True)
        assert begins_again(kind, ExitReport(exit_code=0), alone=True)
        assert not begins_again(kind, failed, alone=False)
        assert not begins_again(kind, stopped, alone=True)
    assert not begins_again(JobType.BATCH, failed, alone=True)
    assert not begins_again(JobType.OPS, failed, alone=True)
