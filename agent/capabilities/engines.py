"""Facts about engines: asks each executor whether it can be used now. Asked again, so what comes later is noticed."""

import asyncio
from collections.abc import Collection, Mapping

from agent.executors.base import EngineFacts, Executor
from wire.jobs.params import engine_kind
from wire.messages import EngineCapability

DEADLINE = 20.0
SWITCHED_OFF = EngineFacts(available=False, why="switched off by the owner")


async def look(executors: Mapping[str, Executor], disabled: Collection[str] = ()) -> dict[str, EngineFacts]:
    """By canonical engine name. An executor that hangs or raises is one that cannot be used, and says so."""
    found: dict[str, EngineFacts] = {}
    for name in sorted(executors):
        kind = engine_kind(name)
        found[kind] = SWITCHED_OFF if kind in disabled else await _ask(executors[name])
    return found


async def _ask(executor: Executor) -> EngineFacts:
    try:
        async with asyncio.timeout(DEADLINE):
            return await executor.facts()
    except TimeoutError:
        return EngineFacts(available=False, why=f"gave no answer within {DEADLINE:g} s")
    except Exception as error:  # noqa: BLE001 - one broken executor must not hide the others
        return EngineFacts(available=False, why=f"{type(error).__name__}: {error}"[:200])


def usable(facts: Mapping[str, EngineFacts]) -> dict[str, EngineCapability]:
    return {name: EngineCapability(one.version, one.detail) for name, one in facts.items() if one.available}


def unusable(facts: Mapping[str, EngineFacts]) -> dict[str, str]:
    return {name: (one.why or "no reason given")[:200] for name, one in facts.items() if not one.available}
