"""Checks of a hub, one a file: each gives a verdict, a sentence and a remedy. None changes anything."""

from collections.abc import Awaitable, Callable
from functools import partial

from hub.doctor import backups, broker, certificates, clocks, database, folder, policy, ports, unit, users
from hub.doctor.subject import Subject
from wire.operating import findings
from wire.operating.findings import Finding

CHECKS: tuple[tuple[str, Callable[[Subject], Awaitable[Finding]]], ...] = (
    ("data", folder.check),
    ("database", database.check),
    ("clock", clocks.check),
    ("policy", policy.check),
    ("certificates", certificates.check),
    ("users", users.check),
    ("ports", ports.check),
    ("broker", broker.check),
    ("backups", backups.check),
    ("unit", unit.check),
)


async def examine(subject: Subject) -> list[Finding]:
    """All findings, in the order in which problems are best solved."""
    return await findings.examine([(name, partial(check, subject)) for name, check in CHECKS])
