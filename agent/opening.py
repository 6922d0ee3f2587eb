"""From a packet to a message that may be believed: topic, size, signature, shape, epoch."""

from agent.store.store import Numbers
from wire.failures import InvalidRequest, TenderError, TooLarge, Untrusted
from wire.link import Packet
from wire.messages import REGISTRY, Award, Invitation, Message, Order, decode
from wire.signing import Keyring
from wire.topics import Address, Channel, Topics

HUB_EP = "hub_ep"
"""The number under which the highest epoch of the hub that was seen is kept."""
_ITEMS: dict[type[Message], str] = {Order: "execution_id", Invitation: "tender_id", Award: "tender_id"}
"""The field of a body that must name the same thing as its topic."""


class Refused(TenderError):
    """A document that is not acted on. `word` is the reason under which it is counted."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word


class Opener:
    """Knows whose documents count here: the hub's for this node, and this node's own presence."""

    def __init__(
        self, *, node_id: str, hub_id: str, topics: Topics, hub_key: Keyring, own_key: Keyring, numbers: Numbers
    ) -> None:
        self._node_id, self._hub_id, self._topics = node_id, hub_id, topics
        self._hub_key, self._own_key, self._numbers = hub_key, own_key, numbers

    def open(self, packet: Packet) -> tuple[Address, Message]:
        """The address and the message. Raises Refused."""
        address = self._topics.parse(packet.topic)
        if address is None:
            raise Refused("wrong-topic", "an unknown topic")
        self._check_owner(address)
        if len(packet.payload) > REGISTRY[address.channel].policy.cap:
            raise Refused("oversized", f"{len(packet.payload)} bytes")
        own = address.channel is Channel.STATE
        try:
            body = (self._own_key if own else self._hub_key).open(packet.topic, packet.payload)
            message = decode(address.channel, body)
        except Untrusted as error:
            raise Refused("forged", error.message) from None
        except (TooLarge, InvalidRequest) as error:
            raise Refused("malformed", error.message) from None
        field = _ITEMS.get(type(message))
        if field is not None and getattr(message, field) != address.item:
            raise Refused("malformed", "topic and body name different things")
        seen = self._numbers.get(HUB_EP)
        if not own and message.ep < seen:
            raise Refused("stale-epoch", f"epoch {message.ep} of the hub, {seen} was seen")
        return address, message

    def _check_owner(self, address: Address) -> None:
        if address.channel is Channel.HUB:
            if address.owner != self._hub_id:
                raise Refused("wrong-hub", f"presence of the hub {address.owner}, ours is {self._hub_id}")
        elif address.owner != self._node_id:
            raise Refused("wrong-node", f"meant for {address.owner}")
