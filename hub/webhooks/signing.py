"""Signatures of Standard Webhooks (v1, HMAC-SHA256), and how secrets lie in the database. Pure.

The text that is signed is `ID.TIMESTAMP.BODY`. While a secret is being replaced there are two signatures, and a
receiver takes a message when one of them fits.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable

import nacl.exceptions
from nacl.secret import Aead

from wire.failures import Conflict

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret as its receiver keeps it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature; `timestamp` in unix seconds. Raises ValueError for what is no secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("not a secret of a webhook") from None
    mac = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac).decode()}"


def headers(keys: Iterable[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What a message carries, signed with each of the secrets."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(key, message_id, timestamp, body) for key in keys),
    }


class Vault:
    """Seals secrets with a key that lies beside the database, so that a copy of the database alone tells none."""

    def __init__(self, key: bytes) -> None:
        self._box = Aead(key)

    def seal(self, secret: str, webhook_id: str) -> bytes:
        """A secret as it is stored: it opens for this webhook only."""
        return bytes(self._box.encrypt(secret.encode(), webhook_id.encode()))

    def open(self, sealed: bytes, webhook_id: str) -> str:
        """Raises Conflict when it was sealed with another key or for another webhook."""
        try:
            return self._box.decrypt(sealed, webhook_id.encode()).decode()
        except (nacl.exceptions.CryptoError, ValueError):
            raise Conflict(
                f"the secret of {webhook_id} does not open: it was sealed with another pki/webhook.key",
                hint=f"make a new one: tender webhook rotate {webhook_id}",
            ) from None
