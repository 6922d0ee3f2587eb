"""Does SQLite keep what it has committed where the agent's data lies?"""

import asyncio
from pathlib import Path

from agent.settings.config import AgentConfig
from wire.files.storage import NETWORKED, file_system, trial
from wire.operating.findings import Finding


async def check(config: AgentConfig) -> Finding:
    folder = Path(config.data_dir)
    kind = await asyncio.to_thread(file_system, folder)
    if kind in NETWORKED:
        remedy = "put data_dir on a local disk: locks and shared memory do not work over the network"
        return Finding("sqlite", "fail", f"{folder} is on {kind}", remedy)
    try:
        mode, level = await trial(folder)
    except OSError as error:
        remedy = "is the folder writable, and is there room?"
        return Finding("sqlite", "fail", f"a database in {folder} does not work: {error}", remedy)
    return Finding("sqlite", "pass", f"journal_mode={mode} synchronous={level} on {kind or 'an unknown file system'}")
