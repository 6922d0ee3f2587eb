"""What goes wrong in a simulated fleet, as a list of actions drawn from a seed: any part of it can be replayed."""

import asyncio
import random
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import msgspec

from tests.fault.sim.broker import Weather
from tests.fault.sim.machines import Machine
from tests.fault.sim.users import patiently
from tests.fault.sim.world import World
from wire.states import NodeState
from wire.topics import Channel

CLASSES = sorted(channel.value for channel in Channel)


class Action(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happens at a time in virtual seconds. `who` is a machine; `number` and `word` depend on `kind`."""

    at: float
    kind: str
    who: str = ""
    number: float = 0.0
    word: str = ""
    seconds: float = 0.0


KINDS: dict[str, int] = {
    "cut": 6,
    "silence": 4,
    "kill": 8,
    "power": 5,
    "stop-program": 2,
    "broker": 3,
    "wipe": 2,
    "session": 3,
    "lose": 5,
    "mix": 4,
    "double": 4,
    "late": 4,
    "clock": 3,
    "disk": 4,
    "disk-out": 2,
    "slow-disk": 3,
    "drain": 3,
    "maintain": 2,
}
"""How often each kind is drawn."""
NUMBERS = {"drain": [0.0, 60.0, 600.0, -1.0], "maintain": [60.0, 600.0, -1.0], "slow-disk": [0.5, 3.0, 20.0]}
"""What happens to nodes, and with which numbers: deadline or duration (-1: none), most seconds of a commit."""


def draw(seed: int, nodes: int, seconds: float, actions: int) -> list[Action]:
    """Actions over a time, in their order."""
    chance = random.Random(f"chaos {seed}")
    names = [f"node-{number}" for number in range(nodes)]
    kinds = [kind for kind, weight in KINDS.items() for _ in range(weight)]
    drawn = [_one(chance, chance.choice(kinds), names, chance.random() * seconds) for _ in range(actions)]
    return sorted(drawn, key=lambda action: action.at)


def _one(chance: random.Random, kind: str, nodes: list[str], at: float) -> Action:
    node, both = chance.choice(nodes), chance.choice([*nodes, "hub"])
    lasts = chance.choice([3.0, 30.0, 120.0, 400.0, 1800.0]) * (0.5 + chance.random())
    if kind in NUMBERS:
        return Action(at, kind, node, number=chance.choice(NUMBERS[kind]), seconds=lasts)
    match kind:
        case "cut" | "silence":
            return Action(at, kind, both, seconds=lasts)
        case "kill" | "stop-program":
            # Some steps from now: between any two of them.
            return Action(at, kind, both if kind == "kill" else node, number=chance.randrange(1, 60), seconds=lasts / 3)
        case "power":
            return Action(at, kind, both, number=chance.randrange(1, 60), seconds=lasts / 3)
        case "lose":
            return Action(at, kind, word=chance.choice(CLASSES), number=1.0, seconds=lasts)
        case "mix" | "double" | "late":
            return Action(at, kind, number=0.3 * chance.random(), seconds=lasts)
        case "clock":
            jump = chance.choice([-3600.0, 3600.0, -EARLY, 400 * 86_400.0, 5.0])
            return Action(at, kind, both, number=jump, seconds=lasts)
        case "disk":
            return Action(at, kind, both, number=chance.randrange(1, 4))
        case _:
            return Action(at, kind, both, seconds=lasts / 3)


EARLY = 1_700_000_000.0
"""A box without a clock wakes up about here in the past: 1971."""


class Chaos:
    """Carries actions out and undoes them; `heal` ends all that still lasts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._undo: dict[int, Callable[[], None]] = {}
        self._number = 0
        self.operators: set[asyncio.Task[Any]] = set()
        """What operators are about to do."""
        self._outside = copy_context()  # whoever dies does not take this along
        self.done: list[Action] = []

    def begin(self, actions: list[Action]) -> None:
        """Let each happen in its time, counted from now."""
        for action in actions:
            self.world.loop.call_later(action.at, self.act, action)

    def act(self, action: Action) -> None:
        self.done.append(action)
        undo = getattr(self, "_" + action.kind.replace("-", "_"))(action)
        if undo is not None:
            self._number += 1
            number = self._number
            self._undo[number] = undo
            self.world.loop.call_later(max(0.1, action.seconds), self._over, number)

    def _over(self, number: int) -> None:
        undo = self._undo.pop(number, None)
        if undo is not None:
            undo()

    def heal(self) -> None:
        """Everything works again from now on."""
        for undo in list(self._undo.values()):
            undo()
        self._undo.clear()
        world = self.world
        world.broker.weather = Weather()
        for client in sorted(world.broker.cut):
            world.broker.mend(client)
        world.broker.start()
        for machine in [world.hub, *world.nodes]:
            machine.stored.failing = 0
            if machine.alive and machine.process is not None:
                machine.process.dies_at = 0
        self._start_all(30)

    def _start_all(self, times: int) -> None:
        """Also what was still on its way to an orderly end."""
        for machine in [self.world.hub, *self.world.nodes]:
            machine.start()
        if times:
            self.world.loop.call_later(1.0, self._start_all, times - 1)

    def _who(self, action: Action) -> Any:
        world = self.world
        return world.hub if action.who == "hub" else next(node for node in world.nodes if node.name == action.who)

    # --- kinds --------------------------------------------------------------------------------------

    def _cut(self, action: Action, *, silent: bool = False) -> Callable[[], None]:
        machine = self._who(action)
        self.world.broker.sever(machine.client, silent=silent)
        return lambda: self.world.broker.mend(machine.client)

    def _silence(self, action: Action) -> Callable[[], None]:
        return self._cut(action, silent=True)

    def _kill(self, action: Action) -> None:
        machine = self._who(action)
        self._between_steps(machine, action, machine.kill)

    def _power(self, action: Action) -> None:
        machine = self._who(action)
        self._between_steps(machine, action, machine.power_cut)

    def _between_steps(self, machine: Machine, action: Action, end: Callable[[], None]) -> None:
        """Some steps from now, which may take a while; it is started again some time after that."""
        process = machine.process
        if process is None or process.dead:
            return

        def die() -> None:
            end()
            self.world.loop.call_later(action.seconds, machine.start, context=self._outside)

        process.on_death = die
        process.dies_at = process.steps + int(action.number)

    def _stop_program(self, action: Action) -> Callable[[], None] | None:
        machine = self._who(action)
        if not machine.alive:
            return None
        machine.stopping.set()
        return machine.start

    def _broker(self, action: Action, *, wipe: bool = False) -> Callable[[], None]:
        del action
        self.world.broker.stop(wipe=wipe)
        return self.world.broker.start

    def _wipe(self, action: Action) -> Callable[[], None]:
        return self._broker(action, wipe=True)

    def _session(self, action: Action) -> None:
        self.world.broker.forget(self._who(action).client)

    def _lose(self, action: Action) -> Callable[[], None]:
        lose = self.world.broker.weather.lose
        lose[action.word] = action.number
        return lambda: _forget(lose, action.word)

    def _mix(self, action: Action) -> Callable[[], None]:
        return self._weather("mix", action.number)

    def _double(self, action: Action) -> Callable[[], None]:
        return self._weather("double", action.number)

    def _late(self, action: Action) -> Callable[[], None]:
        return self._weather("late", action.number)

    def _weather(self, name: str, share: float) -> Callable[[], None]:
        setattr(self.world.broker.weather, name, share)
        return lambda: setattr(self.world.broker.weather, name, 0.0)

    def _clock(self, action: Action) -> Callable[[], None]:
        machine = self._who(action)
        machine.set_clock(action.number)
        return lambda: machine.set_clock(0.0)

    def _disk(self, action: Action) -> None:
        self._who(action).stored.failing = int(action.number)

    def _disk_out(self, action: Action) -> Callable[[], None]:
        """Every commit fails for a while, as on a disk that is full, read-only or gone."""
        stored = self._who(action).stored
        stored.failing = 10**9
        return lambda: setattr(stored, "failing", 0)

    def _slow_disk(self, action: Action) -> Callable[[], None]:
        disk = self._who(action).disk
        before, disk.slow = disk.slow, action.number
        return lambda: setattr(disk, "slow", min(before, 0.2))

    # --- operators ------------------------------------------------------------------------------------

    def _drain(self, action: Action) -> Callable[[], None]:
        return self._tell_operators(action, "drain")

    def _maintain(self, action: Action) -> Callable[[], None]:
        return self._tell_operators(action, "maintain")

    def _tell_operators(self, action: Action, verb: str) -> Callable[[], None]:
        node = self._who(action)
        seconds = None if action.number < 0 else action.number

        async def begin(hub: Any) -> None:
            await getattr(hub.upkeep, verb)(hub.members.find(node.id), seconds, "the story says so")

        async def end(hub: Any) -> None:
            if hub.members.find(node.id).upkeep.mode is not NodeState.ONLINE:
                await hub.upkeep.undrain(hub.members.find(node.id))

        self._patiently(begin)
        return lambda: self._patiently(end)

    def _patiently(self, work: Callable[[Any], Any]) -> None:
        coming = patiently(lambda: self.world.as_hub(work))
        task = self.world.loop.create_task(coming, context=self._outside.copy())
        self.operators.add(task)
        task.add_done_callback(self.operators.discard)


def _forget(lose: dict[str, float], word: str) -> None:
    lose.pop(word, None)
