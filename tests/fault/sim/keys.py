"""Signatures that cost little: a hash over the public key and the bytes, in the shapes of the real library."""

import hashlib
import hmac
from types import SimpleNamespace

from nacl.exceptions import BadSignatureError


class SimVerifyKey:
    """Checks what `SimSigningKey` signed. Nobody forges in a simulation; what is signed for another place is found."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __bytes__(self) -> bytes:
        return self._key

    def verify(self, data: bytes, signature: bytes) -> None:
        """Raises BadSignatureError."""
        if not hmac.compare_digest(hashlib.blake2b(data, key=self._key).digest(), signature):
            raise BadSignatureError


class SimSigningKey:
    """A key pair from a seed of 32 bytes; signatures have 64."""

    def __init__(self, seed: bytes) -> None:
        self._public = hashlib.sha256(seed).digest()
        self.verify_key = SimVerifyKey(self._public)

    def sign(self, data: bytes) -> SimpleNamespace:
        return SimpleNamespace(signature=hashlib.blake2b(data, key=self._public).digest())
