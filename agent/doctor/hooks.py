"""Can the owner's probe hooks be run, and by nobody else be changed?"""

import os
from pathlib import Path

from agent.bidding.hook_answer import HookError
from agent.bidding.hook_exec import check_file
from agent.config import AgentConfig, HookSettings
from agent.doctor.finding import Finding


async def check(config: AgentConfig) -> Finding:
    hooks = config.bidding.hooks
    wrong = [why for hook in hooks if hook.exec and (why := _wrong(hook))]
    if wrong:
        remedy = "let root or the agent's user own the file and its folders, chmod 755"
        return Finding("hooks", "fail", "; ".join(wrong)[:500], remedy)
    return Finding("hooks", "pass", f"{len(hooks)} hooks" if hooks else "no hooks are set")


def _wrong(hook: HookSettings) -> str:
    """What the agent itself would say, and what it would only find out by running the program."""
    try:
        check_file(hook.name, Path(hook.exec[0]))
    except HookError as error:
        return error.reason.message
    return "" if os.access(hook.exec[0], os.X_OK) else f"hook {hook.name}: {hook.exec[0]} is not executable"
