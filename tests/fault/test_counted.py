"""The counted runs of the goals, on real processes: small ones in each run of the tests, larger ones with `make fault`.

The whole size is the default of each module: `python -m tests.fault.offline`, `kills`, `restores` and so on.
"""

import os

import pytest

from tests.fault.forgeries import forgeries
from tests.fault.kills import kills
from tests.fault.offline import offline
from tests.fault.outage import outage
from tests.fault.restores import restores
from tests.support.podman import podman_parts_fixture  # noqa: F401

ROUNDS = int(os.environ.get("TENDER_FAULT_ROUNDS", "1"))


def accepted_once(figures, executions: int) -> None:
    assert figures["executions"] == figures["slots"] == figures["runs"] == figures["accepted"] == executions
    assert (figures["late"], figures["history_faults"]) == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_what_ends_while_the_link_is_cut_is_accepted_once(tmp_path):
    accepted_once(await offline(tmp_path, seconds=2, executions=8, nodes=1), 8)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_two_hundred_that_end_while_the_link_is_cut_are_accepted_once_and_told_quickly(tmp_path):
    figures = await offline(tmp_path, seconds=60)
    accepted_once(figures, 200)
    assert figures["rows_per_s"] >= 500


@pytest.mark.long
@pytest.mark.timeout(2400)
async def test_however_often_the_agent_is_killed_the_same_container_and_program_go_on(tmp_path, podman_parts):
    figures = await kills(tmp_path, times=40 * ROUNDS, podman=podman_parts)
    assert (figures["changes"], figures["containers_left"], figures["history_faults"]) == (0, 0, 0)
    for kind, code in (("container", 7), ("program", 9)):
        assert (figures[f"{kind}_exit"], figures[f"{kind}_said"]) == (code, "told")
        assert (figures[f"{kind}_runs"], figures[f"{kind}_started"], figures[f"{kind}_attempts"]) == (1, 1, 0)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_a_hub_restored_from_a_backup_loses_none_of_its_nodes_work_and_repeats_none(tmp_path):
    figures = await restores(tmp_path, age=5)
    assert (figures["lost"], figures["repeated"], figures["history_faults"]) == (0, 0, 0)
    assert figures["accepted"] == figures["slots"]


def all_told(figures, executions: int) -> None:
    assert figures["executions"] == figures["accepted"] == figures["receipts"] == executions


async def test_what_waits_on_a_few_nodes_is_accepted_when_they_come_back_together(tmp_path):
    all_told(await outage(tmp_path, nodes=5, rows=40, jobs=4), 50)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_five_hundred_rows_on_each_of_a_hundred_nodes_are_accepted_while_the_hub_answers(tmp_path):
    figures = await outage(tmp_path)
    all_told(figures, 12_500)
    assert figures["loop_lag_ms"] < 1000  # on a machine that others use too; the goal is 250


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_none_of_the_lies_of_who_owns_the_broker_is_acted_on_and_each_is_counted(tmp_path):
    figures = await forgeries(tmp_path, documents=200)
    for side in ("node", "hub"):
        counted, told = figures[f"counted_by_{side}"].split("/")
        assert counted == told
    assert (figures["changed"], figures["running_goes_on"], figures["history_faults"]) == (0, 1, 0)
