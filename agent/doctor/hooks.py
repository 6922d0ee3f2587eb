"""Can the owner's probe hooks be run, and by nobody else be changed?"""

import os
import stat
from pathlib import Path

from agent.config import AgentConfig, HookSettings
from agent.doctor.finding import Finding


async def check(config: AgentConfig) -> Finding:
    hooks = config.bidding.hooks
    wrong = [f"{hook.name}: {why}" for hook in hooks if hook.exec and (why := _wrong(hook))]
    if wrong:
        remedy = "let root or the agent's user own the file, chmod 755"
        return Finding("hooks", "fail", "; ".join(wrong)[:500], remedy)
    return Finding("hooks", "pass", f"{len(hooks)} hooks" if hooks else "no hooks are set")


def _wrong(hook: HookSettings) -> str:
    try:
        found = Path(hook.exec[0]).stat()
    except OSError as error:
        return error.strerror or "cannot be read"
    if found.st_uid not in {0, os.getuid()}:
        return "is owned by somebody else"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "is writable by others"
    return "" if os.access(hook.exec[0], os.X_OK) else "is not executable"
