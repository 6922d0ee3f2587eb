"""Checks of the box, one a file: each gives a verdict, a sentence and a remedy."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from agent.config import AgentConfig
from agent.doctor import broker, disk, hooks, identity, podman, python, sqlite, wasm
from agent.doctor.finding import Finding

PATIENCE = 20.0
CHECKS: tuple[tuple[str, Callable[[AgentConfig], Awaitable[Finding]]], ...] = (
    ("python", python.check),
    ("sqlite", sqlite.check),
    ("disk", disk.check),
    ("identity", identity.check),
    ("broker", broker.check),
    ("podman", podman.check),
    ("wasmtime", wasm.check),
    ("hooks", hooks.check),
)


async def examine(config: AgentConfig) -> list[Finding]:
    """All findings, in the order in which problems are best solved. A check that fails itself is a finding."""
    return list(await asyncio.gather(*(_one(name, check, config) for name, check in CHECKS)))


async def _one(name: str, check: Callable[[AgentConfig], Awaitable[Finding]], config: AgentConfig) -> Finding:
    try:
        return await asyncio.wait_for(check(config), PATIENCE)
    except Exception as error:  # noqa: BLE001  a broken check must not hide the others
        return Finding(name, "fail", f"the check itself failed: {error!r}"[:300], "report this")


def report(findings: Sequence[Finding], *, as_json: bool) -> str:
    """What is printed: one line a finding with its remedy below, or one JSON document."""
    if as_json:
        return msgspec.json.encode(list(findings)).decode()
    width = max(len(finding.name) for finding in findings)
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.verdict.upper():4}  {finding.name:{width}}  {finding.message}")
        if finding.remedy and finding.verdict != "pass":
            lines.append(f"      {'':{width}}  → {finding.remedy}")
    return "\n".join(lines)
