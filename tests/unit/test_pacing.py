"""How large bulk messages are follows from what the link carries, and not from how long the way is."""

import pytest

from wire.pacing import AIM, FIRST, LEAST, MOST, Pace


def after(pace: Pace, rate: float, trip: float, messages: int = 30) -> list[float]:
    """Seconds that each of so many bulk messages takes on a link of so many bytes a second."""
    took = list[float]()
    for _ in range(messages):
        took.append(trip + pace.size / rate)
        pace.took(pace.size, took[-1])
    return took


@pytest.mark.parametrize("rate", [8_000, 16_000, 32_000])
@pytest.mark.parametrize("trip", [0.001, 0.6])
def test_on_a_thin_link_a_bulk_message_takes_a_moment(rate, trip):
    pace = Pace()
    pace.took(500, trip)
    assert max(after(pace, rate, trip)) < trip + AIM + 0.1
    assert abs(pace.size - rate * AIM) < 2


def test_a_long_way_is_not_a_thin_link():
    pace = Pace()
    pace.took(500, 0.6)
    after(pace, 3_000_000, 0.6)
    assert pace.size == MOST


def test_a_link_that_gets_thinner_gets_smaller_messages_and_never_none():
    pace = Pace()
    after(pace, 10**7, 0.001)
    assert pace.size == MOST
    after(pace, 1_000, 0.001, 1)
    assert pace.size == LEAST


def test_a_new_session_begins_small_and_one_that_was_thin_stays_so():
    pace = Pace()
    after(pace, 10**7, 0.001)
    pace.anew()
    assert pace.size == FIRST
    after(pace, 2_000, 0.001)
    pace.anew()
    assert pace.size == LEAST


def test_what_else_is_on_its_way_is_not_held_against_the_link():
    pace = Pace()
    first, second = pace.sent(40_000), pace.sent(40_000)
    assert (first, second) == (40_000, 80_000)
    pace.took(second, 1.0)
    assert pace.size == 2 * FIRST
    pace.done(40_000)
    pace.done(40_000)
    assert pace.sent(10) == 10
