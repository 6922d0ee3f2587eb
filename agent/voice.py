"""What this node says: seals documents with the node's key and hands them to the link."""

from wire.failures import Unavailable
from wire.link import Link, Outgoing
from wire.messages import Message, Response, encode
from wire.pacing import MOST
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

    @property
    def room(self) -> int:
        """Bytes of one message that holds up what comes behind it for no longer than a moment."""
        return self.link.pace.size if self.link else MOST

    @property
    def chunk(self) -> int:
        """Bytes of data that fit into such a message."""
        return self.link.pace.data if self.link else MOST

    def outgoing(self, message: Message, item: str = "") -> Outgoing:
        """The sealed message on the channel of its kind; chunks of files and logs are bulk. Raises TooLarge."""
        policy = message.policy
        topic = self.topics.build(Address(policy.channel, self.node_id, item))
        sealed = self.signer.seal(topic, encode(message))
        bulk = isinstance(message, Response) and bool(message.data)
        return Outgoing(topic, sealed, policy.qos, policy.retain, policy.expiry, bulk)

    async def say(self, message: Message, item: str = "") -> None:
        """Publish and wait for the broker. Raises Unavailable, PublishRefused or TooLarge."""
        if self.link is None:
            raise Unavailable("there is no link yet")
        await self.link.publish(self.outgoing(message, item))
