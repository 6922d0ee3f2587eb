"""The fleet's certificate authority and what it signs: broker, API, the hub itself, and nodes.

A key and its certificate live in one 0600 file, replaced by rename: a kill between the two cannot separate them.
"""

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wire import clock
from wire.enrolment import CSR_CAP
from wire.failures import Conflict, InvalidRequest, TooLarge
from wire.files.wholefile import write_once, write_whole
from wire.signing import Signer

DAY = 86_400
CA_DAYS = 20 * 365
SERVER_DAYS = 397
NODE_DAYS = 30
_BACKDATED = DAY
"""Boxes wake up with clocks that are behind; a certificate is good from a day before it was made."""
_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_SERVER = ExtendedKeyUsageOID.SERVER_AUTH

NodeKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


@dataclass(frozen=True)
class Credentials:
    """Files for a TLS end. Both names may be the same file."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Signed:
    """A node's new certificate. `key_sha256` names its public key; times in unix seconds."""

    pem: str
    key_sha256: str
    renew_at: int
    not_after: int


class Pki:
    """The certificate authority in `folder`, made there on first use; `now` is unix seconds."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = clock.unix) -> None:
        self._folder, self._now = folder, now
        self.ca_path = folder / "ca.pem"
        self._key, self._certificate = self._load_or_make()
        self.ca_pem: str = self._certificate.public_bytes(Encoding.PEM).decode()
        self.ca_der: bytes = self._certificate.public_bytes(Encoding.DER)
        self.fingerprint: str = hashlib.sha256(self.ca_der).hexdigest()

    def order_signer(self) -> Signer:
        """The hub's order key, made on first use."""
        return Signer.load_or_make(self._folder / "order.key")

    def server(self, stem: str, names: Sequence[str]) -> Credentials:
        """A server certificate for `names` (hosts or addresses), localhost and 127.0.0.1; renewed when it is due."""
        return self._kept(stem, "tender server", _SERVER, _alternative_names(names))

    def client(self, stem: str, common_name: str) -> Credentials:
        """A client certificate for a part of the hub itself; renewed when it is due."""
        return self._kept(stem, common_name, _CLIENT, None)

    def sign_csr(self, csr_pem: str, common_name: str) -> Signed:
        """Sign a node's key under `common_name`, whatever else the CSR asks for. Raises InvalidRequest, TooLarge."""
        key = _checked_key(csr_pem)
        certificate = self._sign(key, common_name, _CLIENT, None, NODE_DAYS)
        return Signed(
            pem=certificate.public_bytes(Encoding.PEM).decode(),
            key_sha256=_key_hash(key),
            renew_at=int(_renew_at(certificate)),
            not_after=int(certificate.not_valid_after_utc.timestamp()),
        )

    def _load_or_make(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key_path = self._folder / "ca.key"
        if self.ca_path.exists() and not key_path.exists():
            raise Conflict(
                f"{self.ca_path} is there but {key_path} is gone",
                hint="restore the key from your backup; a new CA means that every node has to enrol again",
            )
        key = _load_key(write_once(key_path, _key_pem(ec.generate_private_key(ec.SECP256R1()))))
        # The certificate follows from the key: killed between the two, the next start makes it, and nobody saw another.
        made = self._self_signed(key) if not self.ca_path.exists() else b""
        certificate = x509.load_pem_x509_certificate(write_once(self.ca_path, made, mode=0o644))
        if certificate.public_key() != key.public_key():
            raise Conflict(f"{self.ca_path} does not belong to {key_path}", hint="restore both from the same backup")
        return key, certificate

    def _self_signed(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        name = _name(f"tender fleet {_key_hash(key.public_key())[:12]}")
        usage = _usage(signs_certificates=True)
        builder = (
            self._dated(CA_DAYS)
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _sign(
        self,
        key: NodeKey,
        common_name: str,
        purpose: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        days: int,
    ) -> x509.Certificate:
        # Python 3.13 verifies strictly: without both key identifiers it refuses the chain.
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            self._dated(days)
            .subject_name(_name(common_name))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(issuer, critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _dated(self, days: int) -> x509.CertificateBuilder:
        now = int(self._now())
        return (
            x509.CertificateBuilder()
            .serial_number(x509.random_serial_number())
            .not_valid_before(dt.datetime.fromtimestamp(now - _BACKDATED, tz=dt.UTC))
            .not_valid_after(dt.datetime.fromtimestamp(now + days * DAY, tz=dt.UTC))
        )

    def _kept(
        self,
        stem: str,
        common_name: str,
        purpose: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> Credentials:
        path = self._folder / f"{stem}.pem"
        if not (path.exists() and self._still_good(path.read_bytes(), common_name, names)):
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = self._sign(key.public_key(), common_name, purpose, names, SERVER_DAYS)
            write_whole(path, _key_pem(key) + certificate.public_bytes(Encoding.PEM))
        return Credentials(certificate=path, key=path)

    def _still_good(self, pem: bytes, common_name: str, names: x509.SubjectAlternativeName | None) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            certificate.verify_directly_issued_by(self._certificate)
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value if names else None
        except (ValueError, TypeError, x509.ExtensionNotFound, UnsupportedAlgorithm, InvalidSignature):
            return False
        # One that is not good yet was made while the clock was ahead.
        begun = certificate.not_valid_before_utc.timestamp() <= self._now() < _renew_at(certificate)
        return certificate.subject == _name(common_name) and found == names and begun


def _renew_at(certificate: x509.Certificate) -> float:
    """Two thirds of the life, counted from when it was made."""
    start = certificate.not_valid_before_utc.timestamp() + _BACKDATED
    return start + (certificate.not_valid_after_utc.timestamp() - start) * 2 / 3


def _checked_key(csr_pem: str) -> NodeKey:
    if len(csr_pem) > CSR_CAP:
        raise TooLarge(f"a certificate request has at most {CSR_CAP} bytes, this has {len(csr_pem)}")
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode("ascii"))
        key = csr.public_key()
        valid = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidRequest("not a certificate request that can be read", hint="send a PEM PKCS #10 request") from None
    if not valid:
        raise InvalidRequest("the certificate request is not signed by its own key")
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case rsa.RSAPublicKey() if 2048 <= key.key_size <= 4096:
            return key
        case _:
            raise InvalidRequest("the key is not EC P-256, Ed25519 or RSA with 2048 to 4096 bits")


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    wanted = sorted({"localhost", "127.0.0.1", *names})
    return x509.SubjectAlternativeName([_general_name(name) for name in wanted])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Conflict("the fleet CA's key is not an EC key", hint="restore ca.key from your backup")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _key_hash(key: NodeKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
