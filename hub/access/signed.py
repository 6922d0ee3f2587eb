"""Addresses that open one result for a while, for clients that fetch results without a credential, as Bacalhau's do."""

import hashlib
import hmac
import secrets

from hub.store import fleet
from wire.database import Connection

LIFE = 3600
"""Seconds for which an address opens."""
_KEY = "result_address_key"


def address_key(connection: Connection) -> str:
    """The hub's secret for such addresses, made at the first look."""
    known = fleet.meta(connection, _KEY)
    if not known:
        known = secrets.token_hex(32)
        fleet.set_meta(connection, _KEY, known)
    return known


class SignedAddresses:
    """Signs and checks. `key` never leaves the hub."""

    def __init__(self, key: str) -> None:
        self._key = bytes.fromhex(key)

    def query(self, name: str, now: int) -> str:
        """The query part that opens the result `name` from `now`, in unix seconds, for `LIFE`."""
        expires = str(now + LIFE)
        return f"expires={expires}&signature={self._sign(name, expires)}"

    def opens(self, name: str, expires: str, signature: str, now: int) -> bool:
        """Whether a query opens the result `name` now."""
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and int(expires) > now):
            return False
        return hmac.compare_digest(self._sign(name, expires).encode(), signature.encode())

    def _sign(self, name: str, expires: str) -> str:
        return hmac.new(self._key, f"{name}\n{expires}".encode(), hashlib.sha256).hexdigest()
