"""How much of the link may results take on their way up?"""

from agent.settings.config import AgentConfig
from wire.operating.findings import Finding
from wire.quantities import format_size


async def check(config: AgentConfig) -> Finding:
    link = config.link
    if not link.upload_bytes:
        return Finding("uploads", "pass", f"results go up with all that the link carries (profile {link.profile})")
    whose = "as link.upload_rate says" if link.upload_rate else f"by the profile {link.profile}, less on a thinner link"
    return Finding("uploads", "pass", f"results go up with {format_size(link.upload_bytes)} a second, {whose}")
