"""Goals of the whole, on simulated fleets: a day offline, a hub or broker without its disk, and any message lost.

A few seeds of each; `python -m tests.fault.goals` counts more.
"""

import logging
from collections.abc import Generator

import pytest

from tests.fault.goals import PLAIN, count, lossy, restored, vanished
from tests.fault.sim.chaos import CLASSES
from tests.fault.sim.story import tell


@pytest.fixture(autouse=True)
def _quiet() -> Generator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_reports_that_all_come_at_once_and_too_late_are_all_answered():
    vanished(1, "st")


def test_in_calm_weather_nobody_is_taken_for_adrift():
    told = tell(2, PLAIN, [])
    assert told.violation is None, told.violation
    assert told.alarms == 0


@pytest.mark.parametrize("word", ["ack", "held", "want"])
def test_what_several_exchanges_do_not_end_is_an_alarm_that_is_over_when_all_agree(word: str):
    told = lossy(1, "lose", word)
    assert told.violation is None, told.violation
    assert told.alarms


@pytest.mark.timeout(300)
def test_a_hub_from_an_hour_old_backup_loses_nothing_and_repeats_nothing():
    figures = restored(4)
    assert figures["accepted"] == figures["slots"] > 100
    assert (figures["lost"], figures["repeated"]) == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_hubs_from_hour_old_backups_lose_nothing_and_repeat_nothing():
    figures, failed = count("the hub is restored", list(range(10, 30)))
    assert not failed
    assert figures["accepted"] == figures["slots"]
    assert (figures["lost"], figures["repeated"]) == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("word", CLASSES)
def test_any_one_class_of_messages_may_vanish_and_all_agree_three_intervals_later(word: str):
    assert not count(f"all {word} vanish", [1, 2, 3])[1]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_third_of_all_messages_may_vanish_and_all_agree_three_intervals_later():
    assert not count("a third of all vanishes", list(range(1, 31)))[1]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_after_a_day_offline_a_thousand_results_are_accepted_once():
    figures, failed = count("a day offline", [1])
    assert not failed
    assert figures["accepted"] == figures["slots"] == figures["starts"] == 1000


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_broker_that_lost_its_store_has_everything_of_a_thousand_nodes_again_within_a_minute():
    figures, failed = count("the broker is wiped", [1])
    assert not failed
    assert figures["converged_s"] <= 60
