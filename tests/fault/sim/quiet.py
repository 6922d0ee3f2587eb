"""What must be quiet: an orderly stop leaves nothing to recover (I18), and without faults nobody warns (I20)."""

import logging

from tests.fault.sim.canary import listening
from tests.fault.sim.settle import differences
from tests.fault.sim.world import World

RECOVERY = ("agent.recovery", "agent.files.tidying", "agent.rebuilding", "agent.store.damage")
"""Who speaks up when a start finds something to put right."""


async def restart_quietly(world: World) -> None:
    """Stop and start each node in good order while nothing is going on: nothing is recovered, and nobody warns."""
    said: list[str] = []

    def heard(record: logging.LogRecord, text: str) -> None:
        taken_up = record.name == "agent.app" and "taken up again" in text
        if record.levelno >= logging.WARNING or record.name in RECOVERY or taken_up:
            said.append(f"{record.name}: {text}")

    with listening(heard):
        for node in world.nodes:
            starts = len(node.starts)
            node.stopping.set()
            await world.until(lambda node=node: not node.alive, 30, f"{node.name} stops")
            node.start()
            await world.until(lambda: not differences(world), 300, "all agree again", lambda: differences(world))
            if len(node.starts) != starts:
                world.fail("I18", f"{node.name} started work again after an orderly stop")
    if said:
        world.fail("I18", f"an orderly stop and start was not quiet: {said[0][:300]}")


class Warnings:
    """Hears all that is logged while a fleet runs without faults."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, record: logging.LogRecord, text: str) -> None:
        if record.levelno >= logging.WARNING and record.name.split(".")[0] in {"agent", "hub", "wire"}:
            self.world.fail("I20", f"without any fault {record.name} says {text[:300]}")
