"""Has this node joined a fleet, and is its certificate still good?"""

from pathlib import Path

from agent.identity import load_or_make
from agent.settings.config import AgentConfig
from wire import clock
from wire.failures import TenderError
from wire.operating.findings import Finding


async def check(config: AgentConfig) -> Finding:
    if not (Path(config.data_dir) / "identity" / "node.json").exists():
        return Finding("identity", "warn", "this node has not joined a fleet yet", "start it with --join TOKEN")
    try:
        identity = load_or_make(Path(config.data_dir))
        joined = identity.enrolment()
    except (TenderError, OSError) as error:
        return Finding("identity", "fail", str(error), getattr(error, "hint", "") or "is the folder readable?")
    if joined is None:
        return Finding(
            "identity", "warn", f"{identity.node_id} has not joined a fleet yet", "start it with --join TOKEN"
        )
    days = (joined.reply.not_after - clock.unix()) / 86_400
    if days <= 0:
        remedy = "start the agent: it renews by itself when it reaches the hub; is the clock of this box right?"
        return Finding("identity", "warn", f"the certificate of {identity.node_id} has expired", remedy)
    return Finding("identity", "pass", f"{identity.node_id}, certificate good for {days:.0f} days")
