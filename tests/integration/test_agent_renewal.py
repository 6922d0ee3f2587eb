"""A certificate that is to be renewed while the hub's API is away: everything else goes on."""

import msgspec

from tests.support.agent_bench import AgentBench, agent_bench
from wire.messages import Health

__all__ = ["agent_bench"]


async def test_health_is_said_while_a_renewal_waits_for_the_hub(bench: AgentBench):
    joined = bench.identity.enrolment()
    assert joined is not None
    bench.identity.keep(msgspec.structs.replace(joined, reply=msgspec.structs.replace(joined.reply, renew_at=0)))
    async with bench.agent(link={"health_interval": 1}):
        await bench.hub.next(Health, after=1)
