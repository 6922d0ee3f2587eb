"""Is this Python new enough, and are the packages of the core here?"""

import importlib.util
import sys

from agent.settings.config import AgentConfig
from wire.operating.findings import Finding

FLOOR = (3, 11)
NEEDED = ("aiomqtt", "msgspec", "nacl", "cryptography", "sqlite_utils")


async def check(config: AgentConfig) -> Finding:
    del config
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < FLOOR:
        return Finding("python", "fail", f"this is Python {version}", "install Python 3.11 or newer")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return Finding("python", "fail", f"packages are missing: {', '.join(missing)}", "pip install 'tender[agent]'")
    return Finding("python", "pass", f"Python {version}")
