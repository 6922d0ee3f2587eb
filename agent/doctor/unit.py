"""What does systemd say of the agent's unit, where there is a systemd?"""

import asyncio

from agent.settings.config import AgentConfig
from wire.operating.findings import Finding
from wire.operating.systemd import Systemctl
from wire.operating.unit_state import judge

UNIT = "tender-agent.service"


async def check(config: AgentConfig) -> Finding:
    del config
    return await asyncio.to_thread(judge, Systemctl(), UNIT, "tender agent install")
