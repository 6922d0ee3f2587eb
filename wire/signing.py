"""Signed envelopes: Ed25519 over the exact bytes, bound to the topic they travel on.

An envelope is 1 byte of version, 8 bytes of key id, 64 bytes of signature, then the body. The signature
covers a fixed prefix, the topic and the body, so a document cannot be moved to another node or channel.
Freshness is in the body (`ep`, `ver`, `exp`, state) and is checked by whoever acts on it.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from wire.failures import Untrusted
from wire.files.wholefile import write_once

VERSION = b"\x01"
OVERHEAD = 1 + 8 + 64
"""Bytes that an envelope adds to its body."""
_PREFIX = b"tender envelope 1\x00"


def key_id(public: bytes) -> bytes:
    """Short name of a public key: the first 8 bytes of its SHA-256."""
    return hashlib.sha256(public).digest()[:8]


class Signer:
    """Seals bodies with one private key."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public: bytes = bytes(self._key.verify_key)
        self._head = VERSION + key_id(self.public)

    @classmethod
    def load_or_make(cls, path: Path) -> "Signer":
        """The key in `path` (32 bytes, mode 0600), made there on first use.

        A kill at any line leaves no key or a whole one.
        """
        if not path.exists():
            write_once(path, os.urandom(32))
        return cls(path.read_bytes())

    def seal(self, topic: str, body: bytes) -> bytes:
        """The envelope of `body` for `topic`."""
        return self._head + self._key.sign(_signed_bytes(topic, body)).signature + body

    def sign(self, data: bytes) -> bytes:
        """A detached signature over `data` (manifests, receipts)."""
        return self._key.sign(data).signature


class Keyring:
    """Opens envelopes of known public keys."""

    def __init__(self, public_keys: list[bytes]) -> None:
        self._keys = {key_id(public): VerifyKey(public) for public in public_keys}

    def open(self, topic: str, envelope: bytes) -> bytes:
        """The body, if the envelope was sealed for `topic` by a known key. Raises Untrusted."""
        if len(envelope) < OVERHEAD or envelope[:1] != VERSION:
            raise Untrusted("not a signed envelope of version 1")
        key = self._keys.get(envelope[1:9])
        if key is None:
            raise Untrusted("signed by an unknown key", details={"key": envelope[1:9].hex()})
        body = envelope[OVERHEAD:]
        try:
            key.verify(_signed_bytes(topic, body), envelope[9:OVERHEAD])
        except BadSignatureError:
            raise Untrusted("the signature does not match the bytes and the topic") from None
        return body


class Keyrings:
    """Keyrings by owner, looked up when an envelope arrives; the owner is the one the topic names."""

    def __init__(self, public_key_of: Callable[[str], bytes | None] | Mapping[str, bytes]) -> None:
        self._lookup = public_key_of.get if isinstance(public_key_of, Mapping) else public_key_of
        self._rings: dict[bytes, Keyring] = {}

    def open(self, owner: str, topic: str, envelope: bytes) -> bytes:
        """The body, if sealed by `owner`. Raises Untrusted, also for an unknown owner."""
        public = self._lookup(owner)
        if public is None:
            raise Untrusted(f"{owner} is not known here", details={"reason": "unknown-node"})
        ring = self._rings.get(public)
        if ring is None:
            ring = self._rings[public] = Keyring([public])
        return ring.open(topic, envelope)


def is_signed(public_key: bytes, data: bytes, signature: str) -> bool:
    """Whether `signature`, in hex, is the detached one of this key over `data`."""
    try:
        VerifyKey(public_key).verify(data, bytes.fromhex(signature))
    except (BadSignatureError, ValueError):
        return False
    return True


def _signed_bytes(topic: str, body: bytes) -> bytes:
    name = topic.encode()
    return _PREFIX + len(name).to_bytes(2, "big") + name + body
