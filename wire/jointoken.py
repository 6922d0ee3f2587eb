"""Join tokens: one string to copy to a box, with the hub's URL, the fingerprint of its CA and a one-use secret.

`tender1.` and base64url of JSON. For an https URL the CA certificate itself rides along, so that already the
first connection is verified; there is no connection without verification, not even to fetch the CA.
"""

import base64
import binascii
import hashlib
import ipaddress
import ssl
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from wire.failures import InvalidRequest, TooLarge, Untrusted

PREFIX = "tender1."
MAX_CHARS = 4096
SECRET_BYTES = 32
_HINT = "copy the whole line that `tender node token` printed"

Fingerprint = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Secret = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z")]


class JoinToken(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the string says. `ca` is the CA certificate as DER; empty when the URL is plain http on loopback."""

    url: Annotated[str, Meta(min_length=8, max_length=255)]
    ca_sha256: Fingerprint
    secret: Secret
    ca: Annotated[bytes, Meta(max_length=2048)] = b""

    @property
    def encrypted(self) -> bool:
        """Whether the hub is reached by https."""
        return urlsplit(self.url).scheme == "https"


def render(token: JoinToken) -> str:
    """The string to print."""
    return PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def parse(text: str) -> JoinToken:
    """Read what a person pasted. Raises TooLarge, InvalidRequest or Untrusted, never with the secret in it."""
    if len(text) > MAX_CHARS:
        raise TooLarge(f"a join token has at most {MAX_CHARS} characters, this has {len(text)}", hint=_HINT)
    line = "".join(text.split())  # terminals and mail programs wrap long lines
    if not line.startswith(PREFIX):
        raise InvalidRequest(f"a join token starts with {PREFIX!r}", hint=_HINT)
    encoded = line.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(raw, type=JoinToken)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidRequest("the join token is damaged", hint=_HINT) from None
    _check_url(token.url)
    if token.encrypted and not token.ca:
        raise InvalidRequest("the join token for an https hub lacks the CA certificate", hint=_HINT)
    if token.ca and hashlib.sha256(token.ca).hexdigest() != token.ca_sha256:
        raise Untrusted("the CA certificate in the join token does not have the fingerprint in it", hint=_HINT)
    return token


def check_ca(pem: str, fingerprint: str) -> None:
    """Raises Untrusted unless `pem` is the certificate that the fingerprint names."""
    try:
        found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    except (ValueError, binascii.Error):
        raise Untrusted("the hub answered with something that is not a CA certificate") from None
    if found != fingerprint:
        raise Untrusted(
            f"the hub answered with CA {found[:16]}…, but the join token names {fingerprint[:16]}…",
            hint="another program may be answering at the hub's address; get a new token from the hub's operator",
        )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidRequest("the hub's URL in the join token is damaged", hint=_HINT) from None
    if not host or port == 0 or parts.username or parts.query or parts.fragment or not url.isprintable():
        raise InvalidRequest("the hub's URL in the join token is not a plain http or https URL", hint=_HINT)
    if parts.scheme == "https" or (parts.scheme == "http" and _loopback(host)):
        return
    raise InvalidRequest(
        f"the hub at {host} is offered by {parts.scheme or 'no scheme'}; plain http is for this machine only",
        hint="serve the hub's API with TLS and make a new token with its https URL",
    )


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
