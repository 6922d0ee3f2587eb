"""Checks of the box, one a file: each gives a verdict, a sentence and a remedy."""

from collections.abc import Awaitable, Callable
from functools import partial

from agent.doctor import broker, disk, hooks, identity, podman, python, sqlite, unit, uploads, wasm
from agent.settings.config import AgentConfig
from wire.operating import findings
from wire.operating.findings import Finding

CHECKS: tuple[tuple[str, Callable[[AgentConfig], Awaitable[Finding]]], ...] = (
    ("python", python.check),
    ("sqlite", sqlite.check),
    ("disk", disk.check),
    ("identity", identity.check),
    ("broker", broker.check),
    ("podman", podman.check),
    ("wasmtime", wasm.check),
    ("hooks", hooks.check),
    ("uploads", uploads.check),
    ("unit", unit.check),
)


async def examine(config: AgentConfig) -> list[Finding]:
    """All findings, in the order in which problems are best solved."""
    return await findings.examine([(name, partial(check, config)) for name, check in CHECKS])
