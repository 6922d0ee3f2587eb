"""Lets boxes in: checks token, proof and CSR, signs the certificate, and keeps the node as pending or approved."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from hub.fleet.tokens import TokenDesk
from hub.pki import Pki, Signed
from wire.enrolment import EnrolmentReply, EnrolmentRequest, RenewalRequest, decode, is_node_id
from wire.failures import Conflict, Forbidden, Unauthorized
from wire.states import Membership

log = logging.getLogger(__name__)


class KnownNode(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub keeps of an enrolled node. `public_key` is its order key in hex, `tls_key` a sha256 in hex."""

    id: str
    name: str
    membership: Membership
    public_key: str
    tls_key: str


class NodeStore(Protocol):
    """What enrolment needs from the hub's store."""

    async def get_node(self, node_id: str) -> KnownNode | None:
        """The node, None if it never enrolled."""
        ...

    async def save_enrolled(self, node: KnownNode) -> KnownNode:
        """Insert the node, or for a known id with the same `public_key` set its name and `tls_key`.

        A known node keeps its membership, except that pending becomes approved when `node` says so. Returns the row
        as it is then; one with another `public_key` is returned untouched.
        """
        ...


@dataclass(frozen=True)
class HubFacts:
    """What every new node is told of the hub. `brokers` are `host:port`."""

    hub_id: str
    order_key: bytes
    brokers: list[str]
    root: str


class Enrolment:
    """The service behind the two routes; it knows neither HTTP nor SQL."""

    def __init__(self, *, pki: Pki, tokens: TokenDesk, nodes: NodeStore, facts: Callable[[], HubFacts]) -> None:
        if is_node_id(facts().hub_id):
            raise ValueError("a hub id may not look like a node id: both are user names at the broker")
        self._pki, self._tokens, self._nodes, self._facts = pki, tokens, nodes, facts

    async def enrol_bytes(self, body: bytes) -> EnrolmentReply:
        """`enrol` for the body of a request, with its size checked before it is parsed."""
        return await self.enrol(decode(body, EnrolmentRequest))

    async def renew_bytes(self, body: bytes) -> EnrolmentReply:
        """`renew` for the body of a request."""
        return await self.renew(decode(body, RenewalRequest))

    async def enrol(self, request: EnrolmentRequest) -> EnrolmentReply:
        """Let a node in. The same node may repeat it while its token lives: a lost reply bricks nobody.

        Everything that can be wrong with the request is found before the token is used up.
        """
        _check_proof(request.order_key, request.proven(), request.proof)
        known = await self._nodes.get_node(request.node_id)
        _check_same(known, request.order_key)
        signed = self._pki.sign_csr(request.csr, request.node_id)
        use = await self._tokens.redeem(request.token, f"{request.node_id}:{request.order_key}")
        membership = Membership.APPROVED if use.approve else Membership.PENDING
        node = await self._save(request.node_id, request.name, membership, request.order_key, signed)
        log.info("node %s (%s) enrolled, %s", node.id, node.name, node.membership)
        return self._reply(node, signed)

    async def renew(self, request: RenewalRequest) -> EnrolmentReply:
        """The next certificate for a known node, also when the last one has expired."""
        known = await self._nodes.get_node(request.node_id)
        if known is None:
            raise Unauthorized(
                f"node {request.node_id} is not known here", hint="enrol it again: `tender agent join TOKEN`"
            )
        _check_proof(known.public_key, request.proven(), request.proof)
        _check_same(known, known.public_key)
        signed = self._pki.sign_csr(request.csr, request.node_id)
        node = await self._save(known.id, known.name, known.membership, known.public_key, signed)
        log.info("node %s (%s) renewed its certificate", node.id, node.name)
        return self._reply(node, signed)

    async def _save(
        self, node_id: str, name: str, membership: Membership, public_key: str, signed: Signed
    ) -> KnownNode:
        node = KnownNode(id=node_id, name=name, membership=membership, public_key=public_key, tls_key=signed.key_sha256)
        saved = await self._nodes.save_enrolled(node)
        _check_same(saved, public_key)  # another may have come, or been rejected, since the first look
        return saved

    def _reply(self, node: KnownNode, signed: Signed) -> EnrolmentReply:
        facts = self._facts()
        return EnrolmentReply(
            node_id=node.id,
            certificate=signed.pem,
            ca=self._pki.ca_pem,
            brokers=facts.brokers,
            hub_id=facts.hub_id,
            hub_order_key=facts.order_key.hex(),
            root=facts.root,
            membership=node.membership,
            renew_at=signed.renew_at,
            not_after=signed.not_after,
        )


def _check_proof(public_key: str, proven: bytes, proof: str) -> None:
    try:
        VerifyKey(bytes.fromhex(public_key)).verify(proven, bytes.fromhex(proof))
    except (BadSignatureError, ValueError):
        raise Unauthorized("the request is not signed by the node's order key") from None


def _check_same(node: KnownNode | None, public_key: str) -> None:
    if node is None:
        return
    if node.public_key != public_key:
        raise Conflict(
            f"node {node.id} is enrolled with another key",
            hint="was the identity folder copied or restored in part? Remove it on this box and join again",
        )
    if node.membership is Membership.REJECTED:
        raise Forbidden(f"node {node.id} was rejected", hint=f"approve it first: `tender node approve {node.id}`")
