"""What a node and the hub say to each other before there is a certificate: enrolment and renewal, over HTTP.

Both requests carry a proof: a signature of the node's order key over the request, so that nobody can enrol or
renew in the name of a key that they do not hold, and a repeated request is recognised as the same node.
"""

import hashlib
import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from wire.failures import InvalidRequest, TooLarge
from wire.jointoken import Secret
from wire.states import Membership

ENROL_PATH = "/api/v1/agent/enrol"
RENEW_PATH = "/api/v1/agent/renew"
REQUEST_CAP = 16 * 1024
REPLY_CAP = 32 * 1024
CSR_CAP = 8 * 1024
NODE_ID = r"^n-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z"
"""`\\Z` here and below, because `$` also matches before a final newline."""

NodeId = Annotated[str, Meta(pattern=NODE_ID)]
Csr = Annotated[str, Meta(min_length=1, max_length=CSR_CAP)]
PublicKey = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Proof = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]
NODE_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z"
NODE_NAME_MOST = 63
NodeName = Annotated[str, Meta(max_length=NODE_NAME_MOST, pattern=NODE_NAME)]
Pem = Annotated[str, Meta(max_length=CSR_CAP)]


class EnrolmentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A box asks to join. `token` is the secret of the join token, `order_key` the node's Ed25519 key."""

    token: Secret
    node_id: NodeId
    name: NodeName
    order_key: PublicKey
    csr: Csr
    proof: Proof

    def proven(self) -> bytes:
        """The bytes that `proof` signs."""
        return _digest("enrol", self.token, self.node_id, self.name, self.order_key, self.csr)


class RenewalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A known node asks for its next certificate. Repeating it gains nothing without the node's TLS key."""

    node_id: NodeId
    csr: Csr
    proof: Proof

    def proven(self) -> bytes:
        """The bytes that `proof` signs."""
        return _digest("renew", self.node_id, self.csr)


class EnrolmentReply(msgspec.Struct, frozen=True, kw_only=True):
    """All that a node needs to connect. `brokers` are `host:port`, `renew_at` and `not_after` unix seconds."""

    node_id: NodeId
    certificate: Pem
    ca: Pem
    brokers: Annotated[list[Annotated[str, Meta(max_length=270)]], Meta(min_length=1, max_length=16)]
    hub_id: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}\Z")]
    hub_order_key: PublicKey
    root: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}\Z")]
    membership: Membership
    renew_at: int
    not_after: int


Body = TypeVar("Body", EnrolmentRequest, RenewalRequest, EnrolmentReply)


def decode(data: bytes, kind: type[Body]) -> Body:
    """Read a body from outside. Raises TooLarge before parsing, InvalidRequest with the field that is wrong."""
    cap = REPLY_CAP if kind is EnrolmentReply else REQUEST_CAP
    if len(data) > cap:
        raise TooLarge(f"this body has {len(data)} bytes, at most {cap} are allowed")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"not a valid {kind.__name__}: {error}"[:500]) from None


def is_node_id(text: str) -> bool:
    """Whether `text` has the form of a node id; no hub id or observer name may have it."""
    return re.fullmatch(NODE_ID, text) is not None


def is_node_name(text: str) -> bool:
    """Whether `text` can name a node: one plain word that is safe in a log line and on a terminal."""
    return len(text) <= NODE_NAME_MOST and re.fullmatch(NODE_NAME, text) is not None


def _digest(purpose: str, *fields: str) -> bytes:
    # Each field is hashed before they are joined, so no field can borrow characters from its neighbour.
    parts = b"".join(hashlib.sha256(field.encode()).digest() for field in fields)
    return f"tender {purpose} 1\x00".encode() + parts
