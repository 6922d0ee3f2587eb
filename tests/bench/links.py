"""What each link profile costs an agent that has nothing to do, in bytes of TCP payload a day, TLS included.

`python -m tests.bench.links [SECONDS]` runs a hub and one agent for each profile, each behind a relay that counts.
"""

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

from agent.settings.config import PROFILES
from tests.support.faults import Relay, broker_port, look_elsewhere, relay_to
from tests.support.fleet import AgentProcess, Fleet
from wire import clock

DAY = 86_400
SETTLED = 90.0
"""Seconds after the start that do not count."""
EVERY = 60
"""Seconds from window to window of the sleepy one, so that some pass while it is measured."""
USUAL = 3600
"""And those that its day is counted with."""


def settings(profile: str) -> str:
    # It says in each window how it is, as one does that wakes each hour.
    more = f'every = "{EVERY}s"\nwindow = "5s"\nhealth_interval = "30s"\n' if profile == "sleepy" else ""
    return f'name = "{profile}"\n[engines]\ndisabled = ["podman"]\n[link]\nprofile = "{profile}"\n{more}'


async def behind(node: AgentProcess, stack: contextlib.AsyncExitStack) -> Relay:
    """A relay between a node that has joined and its broker; the node starts anew."""
    relay = await stack.enter_async_context(relay_to(broker_port(node)))
    await node.stop()
    look_elsewhere(node, relay.port)
    await node.start()
    return relay


async def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as place:
        async with (
            contextlib.AsyncExitStack() as stack,
            Fleet(Path(place), {profile: settings(profile) for profile in PROFILES}) as fleet,
        ):
            relays = {name: await behind(node, stack) for name, node in fleet.nodes.items()}
            await asyncio.sleep(SETTLED)
            before, began = {name: relay.passed for name, relay in relays.items()}, clock.monotonic()
            await asyncio.sleep(seconds)
            passed = clock.monotonic() - began
            print("| profile | bytes | over | kB a day |\n| --- | --- | --- | --- |")
            for name, relay in relays.items():
                moved = relay.passed - before[name]
                day = moved / passed * DAY * (EVERY / USUAL if name == "sleepy" else 1) / 1e3
                print(f"| {name} | {moved} | {passed:.0f} s | {day:.0f} |", flush=True)
            print(f"sleepy: {(relays['sleepy'].passed - before['sleepy']) / (passed / EVERY):.0f} bytes a window")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0))
