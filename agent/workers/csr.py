"""Child process: makes the node's TLS key if there is none, and prints a certificate request for it.

stdin `{"key", "common_name"}`, stdout `{"csr"}`. The private key goes to its file and nowhere else.
"""

import sys
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from wire.files.wholefile import write_once


class Order(msgspec.Struct, frozen=True):
    """What to make. `key` is the path of the private key."""

    key: str
    common_name: str


class Made(msgspec.Struct, frozen=True):
    """The answer."""

    csr: str


def make(order: Order) -> Made:
    """The request for the key in the file, which is made on first use."""
    fresh = ec.generate_private_key(ec.SECP256R1())
    pem = fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = load_pem_private_key(write_once(Path(order.key), pem), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{order.key} is not an EC key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, order.common_name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return Made(csr.public_bytes(Encoding.PEM).decode())


if __name__ == "__main__":
    order = msgspec.json.decode(sys.stdin.buffer.read(65_536), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(make(order)))
