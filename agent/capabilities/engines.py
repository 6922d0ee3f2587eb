"""Facts about engines: asks each executor whether it can be used now. Asked again, so what comes later is noticed."""

import asyncio
from collections.abc import Collection, Mapping

from agent.executors.base import EngineFacts, Executor
from wire.messages import EngineCapability
from wire.params import engine_kind

DEADLINE = 20.0


async def look(executors: Mapping[str, Executor], disabled: Collection[str] = ()) -> dict[str, EngineFacts]:
    """By canonical engine name. An executor that hangs or raises is one that cannot be used, and says so."""
    off = {engine_kind(name) for name in disabled}
    names = sorted(executors)
    found = await asyncio.gather(*(_ask(executors[name]) for name in names if engine_kind(name) not in off))
    facts = dict(zip([name for name in names if engine_kind(name) not in off], found, strict=True))
    switched_off = EngineFacts(available=False, why="switched off by the owner")
    return {engine_kind(name): facts.get(name, switched_off) for name in names}


async def _ask(executor: Executor) -> EngineFacts:
    try:
        return await asyncio.wait_for(executor.facts(), DEADLINE)
    except TimeoutError:
        return EngineFacts(available=False, why=f"gave no answer within {DEADLINE:g} s")
    except Exception as error:  # noqa: BLE001 - one broken executor must not hide the others
        return EngineFacts(available=False, why=f"{type(error).__name__}: {error}"[:200])


def usable(facts: Mapping[str, EngineFacts]) -> dict[str, EngineCapability]:
    return {name: EngineCapability(one.version, one.detail) for name, one in facts.items() if one.available}


def unusable(facts: Mapping[str, EngineFacts]) -> dict[str, str]:
    return {name: (one.why or "no reason given")[:200] for name, one in facts.items() if not one.available}
