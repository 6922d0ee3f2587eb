"""Who this node is: its id and order key, made once on first start, and the files that enrolment leaves.

Id and key are in one file that appears whole or not at all, so a kill at any line leaves one identity or none.
"""

import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

import msgspec

from wire.enrolment import EnrolmentReply, NodeId, PublicKey
from wire.failures import Conflict, TenderError
from wire.files.wholefile import write_once, write_whole
from wire.jointoken import Fingerprint, check_ca
from wire.signing import Signer


class _Kept(msgspec.Struct, frozen=True):
    """The content of `node.json`. `seed` is the private half of the order key."""

    node_id: NodeId
    seed: PublicKey


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `enrolment.json`: where the hub's API is, what pins its CA, and what it answered."""

    url: str
    ca_sha256: Fingerprint
    reply: EnrolmentReply


@dataclass(frozen=True)
class Identity:
    """The node's name and keys. Certificate, key and CA are paths: the core never looks inside them."""

    node_id: str
    signer: Signer
    folder: Path

    @property
    def tls_key(self) -> Path:
        """The private key of the certificate; made by a child, never sent anywhere."""
        return self.folder / "tls.key"

    @property
    def certificate(self) -> Path:
        """The node's certificate; there once it is enrolled."""
        return self.folder / "tls.pem"

    @property
    def ca(self) -> Path:
        """The fleet CA; there once it is enrolled."""
        return self.folder / "ca.pem"

    def enrolment(self) -> Joined | None:
        """What the hub answered, None before the node is enrolled."""
        try:
            return msgspec.json.decode((self.folder / "enrolment.json").read_bytes(), type=Joined)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise _damaged(self.folder / "enrolment.json", str(error)) from None

    def keep(self, joined: Joined) -> None:
        """Keep what the hub answered, if it is for this node and from the pinned CA.

        `enrolment.json` comes last: it says that all is there.
        """
        reply = joined.reply
        if reply.node_id != self.node_id:
            raise Conflict(f"the hub's answer is for {reply.node_id}, this is {self.node_id}")
        check_ca(reply.ca, joined.ca_sha256)
        write_whole(self.ca, reply.ca.encode(), mode=0o644)
        write_whole(self.certificate, reply.certificate.encode(), mode=0o644)
        write_whole(self.folder / "enrolment.json", msgspec.json.encode(joined))


def load_or_make(data: Path) -> Identity:
    """The identity in `data`/identity, made there on first start."""
    folder = data / "identity"
    path = folder / "node.json"
    # A fresh one costs nothing and is thrown away if there is one already, or if another start was quicker.
    fresh = _Kept(node_id=f"n-{uuid.uuid4()}", seed=secrets.token_bytes(32).hex())
    kept_bytes = write_once(path, msgspec.json.encode(fresh))
    try:
        kept = msgspec.json.decode(kept_bytes, type=_Kept)
    except msgspec.MsgspecError as error:
        raise _damaged(path, str(error)) from None
    return Identity(kept.node_id, Signer(bytes.fromhex(kept.seed)), folder)


def _damaged(path: Path, why: str) -> TenderError:
    return Conflict(
        f"{path} is damaged: {why}",
        hint="restore it from your backup; or remove the folder and join again as a new node",
    )
