"""Secrets of users: API keys, of which a hash is kept, and passwords, which are kept as argon2id says."""

import functools
import hashlib
import hmac
import secrets

import nacl.exceptions
from nacl.pwhash import argon2id

from wire.failures import InvalidRequest, at

PREFIX = "tk"
PASSWORD_LEAST, PASSWORD_MOST = 10, 255


def new_key() -> tuple[str, str]:
    """An API key as its owner keeps it, and its id: `tk_ID_SECRET`."""
    key_id = secrets.token_hex(8)
    return f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}", key_id


def key_id(key: str) -> str:
    """The id in a key, or an empty text when it is none of ours."""
    prefix, _, rest = key.partition("_")
    found, _, secret = rest.partition("_")
    return found if prefix == PREFIX and secret and len(key) <= 255 else ""


def hash_key(key: str) -> str:
    """What is stored of a key. It holds 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two hashes are equal, in a time that tells nothing."""
    return hmac.compare_digest(one, other)


def check_password_rules(password: str) -> None:
    """Refuse what is too short to be a secret or too long to be typed. Raises InvalidRequest."""
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
        raise InvalidRequest(
            f"a password has {PASSWORD_LEAST} to {PASSWORD_MOST} characters",
            hint="for programs make a key: `tender key add`",
            details=at("Password", "(not shown)"),
        )


def hash_password(password: str) -> str:
    """Slow on purpose, and takes 64 MiB; call it beside the event loop."""
    return argon2id.str(
        password.encode(), opslimit=argon2id.OPSLIMIT_INTERACTIVE, memlimit=argon2id.MEMLIMIT_INTERACTIVE
    ).decode()


def password_fits(stored: str, password: str) -> bool:
    """Whether a password is the stored one. It takes as long when there is none to compare with."""
    try:
        fits = argon2id.verify((stored or _nobodys()).encode(), password.encode(errors="replace"))
    except nacl.exceptions.InvalidkeyError:
        return False
    return fits and bool(stored)


@functools.cache
def _nobodys() -> str:
    """What a password is compared with when nobody has the name. Made when first needed: it takes 64 MiB."""
    return hash_password("nobody has this password")
