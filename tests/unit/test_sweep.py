"""Looking at all jobs: in order, a few at once, many one by one, and none twice for the same news."""

import asyncio
import itertools

from hub.jobs.sweep import AT_ONCE, Sweep

MANY = [f"j-{number}" for number in range(5 * AT_ONCE)]


async def test_a_few_are_looked_at_at_once():
    looked = list[str]()
    Sweep(looked.append).look_at(["j-2", "j-1", "j-2"])
    assert looked == ["j-2", "j-1"]


async def test_many_are_looked_at_one_in_each_turn_of_the_loop():
    looked, turns = list[str](), list[int]()
    Sweep(looked.append).look_at(MANY)
    assert not looked
    while len(looked) < len(MANY):
        await asyncio.sleep(0)
        turns.append(len(looked))
    assert looked == MANY
    assert max(b - a for a, b in itertools.pairwise(turns)) == 1


async def test_news_that_come_together_are_one_look_and_those_that_come_later_another():
    looked = list[str]()
    sweep = Sweep(looked.append)
    for _ in range(100):
        sweep.look_at(MANY)
    while len(looked) < len(MANY):
        await asyncio.sleep(0)
    sweep.look_at(["j-3"])
    async with asyncio.timeout(60):
        while len(looked) <= len(MANY):
            await asyncio.sleep(0.01)
    assert looked == [*MANY, "j-3"]
    async with asyncio.timeout(60):
        while len(looked) < len(MANY) + 2:
            sweep.look_at(["j-4"])
            await asyncio.sleep(0.01)
