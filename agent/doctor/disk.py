"""Is there room for work and results?"""

import os
from pathlib import Path

from agent.config import AgentConfig
from agent.health import disk_check
from wire.findings import Finding


async def check(config: AgentConfig) -> Finding:
    folder = Path(config.data_dir)
    here = next(path for path in (folder, *folder.parents) if path.exists())
    stat = os.statvfs(here)
    found = disk_check(stat.f_bavail * stat.f_frsize, stat.f_favail if stat.f_files else 1_000_000)
    return Finding("disk", found.verdict, f"{found.message} on {here}", found.remedy or _remedy(found.verdict))


def _remedy(verdict: str) -> str:
    return "" if verdict == "pass" else "free space, or put data_dir on another disk"
