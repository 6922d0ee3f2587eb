"""What a doctor finds: checks that run side by side, each with a verdict, a sentence and a remedy."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

PATIENCE = 20.0
"""Seconds for one check."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one check found. `verdict` is pass, warn or fail; whatever is not pass has a `remedy`."""

    name: str
    verdict: str
    message: str
    remedy: str = ""


Check = Callable[[], Awaitable[Finding]]


async def examine(checks: Sequence[tuple[str, Check]]) -> list[Finding]:
    """All findings in the order of the checks. A check that fails itself is a finding."""
    return list(await asyncio.gather(*(_one(name, check) for name, check in checks)))


async def _one(name: str, check: Check) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE):
            return await check()
    except TimeoutError:
        return Finding(name, "fail", f"no answer within {PATIENCE:g} s", "is the machine overloaded, or a disk stuck?")
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


def exit_code(findings: Sequence[Finding]) -> int:
    """1 when something fails; warnings are no failures."""
    return int(any(finding.verdict == "fail" for finding in findings))
