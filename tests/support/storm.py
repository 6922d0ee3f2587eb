"""Many nodes in one process of their own, that only connect, announce themselves and come back when they are cut off.

`python -m tests.support.storm` reads one JSON line: `{"port", "ca", "nodes": [{"id", "seed", "certificate"}]}`. It
prints `here` when all are connected, and then a line for each node that is back, with the seconds since it was cut off.
"""

import asyncio
import sys
from typing import Any

import msgspec

from wire import clock
from wire import messages as m
from wire.link import Link, Options, Outgoing, Packet, mutual_tls
from wire.resources import Resources
from wire.signing import Signer
from wire.states import NodeState
from wire.topics import Address, Channel, Topics

ROOM = Resources(cpu=4, memory=4 * 10**9, disk=10**10)


class StormNode:
    """The handler of one link."""

    def __init__(self, told: dict[str, str], port: int, ca: str) -> None:
        self.id, self._signer, self._topics = told["id"], Signer(bytes.fromhex(told["seed"])), Topics()
        self._ep, self._lost_at = 0, 0.0
        options = Options(
            hosts=[("localhost", port)],
            client_id=self.id,
            tls=mutual_tls(ca, told["certificate"], told["certificate"]),
            filters=self._topics.node_filters(self.id),
            keepalive=60,
        )
        self.link = Link(options, self)

    async def new_epoch(self) -> int:
        self._ep += 1
        return self._ep

    def will(self, ep: int) -> Outgoing:
        return self._outgoing(Channel.STATE, m.NodeStatus(ep=ep, state=NodeState.OFFLINE))

    async def up(self, *, session_present: bool) -> None:
        """As an agent does: all that a broker without a session of it may have lost."""
        ep = self._ep
        said: list[tuple[Channel, m.Message]] = [
            (Channel.STATE, m.NodeStatus(ep=ep, state=NodeState.ONLINE, next=60)),
            (Channel.HELD, m.Held(ep=ep, want=0, items=[])),
        ]
        if not session_present:
            caps = m.Capabilities(
                ep=ep, name=self.id[:10], engines={"wasm": m.EngineCapability("1")}, total=ROOM, per_job=ROOM
            )
            said.insert(0, (Channel.CAPS, caps))
        for channel, message in said:
            await self.link.publish(self._outgoing(channel, message))
        if self._lost_at:
            print(f"back {clock.monotonic() - self._lost_at:.2f}", flush=True)
            self._lost_at = 0.0

    async def receive(self, packets: list[Packet]) -> None:
        del packets

    def down(self, why: str) -> None:
        del why
        self._lost_at = self._lost_at or clock.monotonic()

    def _outgoing(self, channel: Channel, message: m.Message) -> Outgoing:
        topic = self._topics.build(Address(channel, self.id))
        return Outgoing(topic, self._signer.seal(topic, m.encode(message)), retain=message.policy.retain)


async def main(told: dict[str, Any]) -> None:
    nodes = [StormNode(one, told["port"], told["ca"]) for one in told["nodes"]]
    async with asyncio.TaskGroup() as running:
        for node in nodes:
            running.create_task(node.link.run())
        for node in nodes:
            await node.link.connected.wait()
        print("here", flush=True)


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.readline())))
