"""Turns at the owner's hooks: by priority, with patience, and none lost when a waiter gives up."""

import asyncio

from wire.hooks.turns import Turns


async def asked(turns: Turns, priority: int, name: str, order: list[str]) -> "asyncio.Task[None]":
    async def wait() -> None:
        await turns.acquire(priority)
        order.append(name)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return task


async def test_higher_priority_has_the_next_turn():
    turns, order = Turns(1), list[str]()
    await turns.acquire()
    waiting = [await asked(turns, priority, name, order) for priority, name in ((0, "low"), (9, "high"), (0, "later"))]
    for _ in waiting:
        turns.release()
        await asyncio.sleep(0)
    assert order == ["high", "low", "later"]


async def test_priority_beyond_a_bound_does_not_pass_all_others_for_ever():
    turns, order = Turns(1), list[str]()
    await turns.acquire()
    waiting = [await asked(turns, priority, name, order) for priority, name in ((60, "first"), (10**6, "second"))]
    for _ in waiting:
        turns.release()
        await asyncio.sleep(0)
    assert order == ["first", "second"]


async def test_a_turn_that_comes_as_its_waiter_gives_up_is_not_lost():
    turns, order = Turns(1), list[str]()
    await turns.acquire()
    gone = await asked(turns, 5, "gone", order)
    turns.release()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    async with asyncio.timeout(60):
        await turns.acquire()
    assert order == []


async def test_who_gave_up_before_is_passed_over():
    turns, order = Turns(1), list[str]()
    await turns.acquire()
    gone = await asked(turns, 5, "gone", order)
    await asked(turns, 0, "next", order)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    turns.release()
    await asyncio.sleep(0)
    assert order == ["next"]
