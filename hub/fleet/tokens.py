"""Join tokens at the hub: making them, and letting each be used by one node only. Only their hashes are kept."""

import hashlib
import logging
import secrets
from collections.abc import Callable
from typing import Protocol

import msgspec

from wire import clock
from wire.failures import InvalidRequest, Unauthorized, at
from wire.jointoken import SECRET_BYTES, JoinToken, parse, render

log = logging.getLogger(__name__)
DEFAULT_LIFE = 3600
LONGEST_LIFE = 86_400
_HINT = "ask the hub's operator for a new token: `tender node token`"


class TokenUse(msgspec.Struct, frozen=True):
    """A token's row after a try to use it. `used_by` is the user that holds it, empty when nobody does."""

    expires: int
    approve: bool
    used_by: str


class TokenStore(Protocol):
    """What the desk needs from the hub's store. Times in unix nanoseconds."""

    async def save_token(self, token_hash: str, *, expires: int, approve: bool) -> None:
        """Keep a new token."""
        ...

    async def consume_token(self, token_hash: str, *, used_by: str, now: int) -> TokenUse | None:
        """Set `used_by` if it is empty and `now` < expires, in one step. Returns the row as it is then, or None."""
        ...


class TokenDesk:
    """Issues and redeems join tokens for a hub that is reached at `url`; `now_ns` is unix nanoseconds."""

    def __init__(
        self, store: TokenStore, *, url: str, ca_der: bytes, now_ns: Callable[[], int] = clock.unix_ns
    ) -> None:
        self._store, self._url, self._ca, self._now = store, url, ca_der, now_ns

    async def issue(self, *, life: float = DEFAULT_LIFE, approve: bool = False) -> str:
        """A new token as a string to copy. With `approve` the node that uses it needs no approval afterwards."""
        if not 1 <= life <= LONGEST_LIFE:
            raise InvalidRequest(
                f"a join token lives between 1 s and {LONGEST_LIFE // 3600} h, not {life:g} s",
                hint="make tokens when they are needed; several may be open at once",
                details=at("Life", f"{life:g}"),
            )
        secret = secrets.token_urlsafe(SECRET_BYTES)
        fingerprint = hashlib.sha256(self._ca).hexdigest()
        token = JoinToken(url=self._url, ca_sha256=fingerprint, secret=secret)
        if token.encrypted:
            token = msgspec.structs.replace(token, ca=self._ca)
        text = render(token)
        parse(text)  # a token that no node would take is refused here, where it can still be put right
        expires = self._now() + int(life * 1_000_000_000)
        await self._store.save_token(hash_of(secret), expires=expires, approve=approve)
        return text

    async def redeem(self, secret: str, user: str) -> TokenUse:
        """Use the token for `user`. The same user may repeat it while it lives; anyone else gets Unauthorized."""
        now = self._now()
        use = await self._store.consume_token(hash_of(secret), used_by=user, now=now)
        if use is None:
            raise _refused("this hub has not issued this join token")
        if now >= use.expires:
            raise _refused("the join token has expired")
        if use.used_by != user:
            raise _refused("the join token has been used by another node")
        return use


def hash_of(secret: str) -> str:
    """What is stored of a secret. It is 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _refused(why: str) -> Unauthorized:
    log.warning("enrolment refused: %s", why)
    return Unauthorized(why, hint=_HINT)
