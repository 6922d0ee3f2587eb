"""Backup and restore of a real hub by its own commands."""

import asyncio
import sys
from pathlib import Path

from tests.support.fleet import Fleet


async def hub_command(*words: str) -> str:
    """`python -m hub …`: its exit code, a colon and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    said, _ = await process.communicate()
    return f"{process.returncode}: {said.decode()}"


async def backed_up(fleet: Fleet, backup: Path) -> None:
    """The hub goes on while it is copied."""
    answer = await hub_command("backup", str(backup), "--data-dir", str(fleet.hub.folder))
    assert answer.startswith("0:"), answer


async def restored(fleet: Fleet, backup: Path) -> None:
    """The hub dies, loses its disk, and comes back from the backup."""
    await fleet.hub.kill9()
    answer = await hub_command("restore", str(backup), "--data-dir", str(fleet.hub.folder))
    assert answer.startswith("0:"), answer
    await fleet.hub.start()
