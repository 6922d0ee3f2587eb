"""Names rise with time and begin differently, however many are made at once."""

import uuid

from hub.jobs.ids import new_id


def test_names_rise_and_no_two_begin_alike():
    made = [new_id("j") for _ in range(2000)]
    assert made == sorted(made)
    assert len({name[:10] for name in made}) == 2000
    assert uuid.UUID(made[0].removeprefix("j-")).version == 4
