"""Is there room for work and results?"""

from pathlib import Path

from agent.health import disk_check
from agent.settings.config import AgentConfig
from wire.files.ballast import room
from wire.operating.findings import Finding


async def check(config: AgentConfig) -> Finding:
    folder = Path(config.data_dir)
    here = next(path for path in (folder, *folder.parents) if path.exists())
    found = disk_check(room(here))
    return Finding("disk", found.verdict, f"{found.message} on {here}", found.remedy or _remedy(found.verdict))


def _remedy(verdict: str) -> str:
    return "" if verdict == "pass" else "free space, or put data_dir on another disk"
