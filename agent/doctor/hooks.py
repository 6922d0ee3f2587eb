"""Can the owner's probe hooks be run, and by nobody else be changed?"""

from agent.settings.config import AgentConfig
from wire.hooks.program import not_runnable
from wire.operating.findings import Finding


async def check(config: AgentConfig) -> Finding:
    hooks = config.bidding.hooks
    wrong = [why for hook in hooks if (why := not_runnable(hook))]
    if wrong:
        remedy = "let root or the agent's user own the file and its folders, chmod 755"
        return Finding("hooks", "fail", "; ".join(wrong)[:500], remedy)
    return Finding("hooks", "pass", f"{len(hooks)} hooks" if hooks else "no hooks are set")
