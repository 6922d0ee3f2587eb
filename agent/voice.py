"""What this node says: seals documents with the node's key and hands them to the link."""

from wire.failures import Unavailable
from wire.link import Link, Outgoing
from wire.messages import Message, encode
from wire.signing import Signer
from wire.topics import Address, Topics


class Voice:
    """Speaks for one node. `link` is set once, by the composition root."""

    def __init__(self, *, topics: Topics, node_id: str, signer: Signer) -> None:
        self.topics, self.node_id, self.signer = topics, node_id, signer
        self.link: Link | None = None

    @property
    def ep(self) -> int:
        """The epoch of the current session."""
        return self.link.ep if self.link else 0

    @property
    def connected(self) -> bool:
        return self.link is not None and self.link.connected.is_set()

    def outgoing(self, message: Message, item: str = "") -> Outgoing:
        """The sealed message on the channel of its kind. Raises TooLarge."""
        policy = message.policy
        topic = self.topics.build(Address(policy.channel, self.node_id, item))
        return Outgoing(topic, self.signer.seal(topic, encode(message)), policy.qos, policy.retain, policy.expiry)

    async def say(self, message: Message, item: str = "") -> None:
        """Publish and wait for the broker. Raises Unavailable, PublishRefused or TooLarge."""
        if self.link is None:
            raise Unavailable("there is no link yet")
        await self.link.publish(self.outgoing(message, item))
