"""A running managed broker with its own CA, and client certificates for whoever a test wants to be."""

import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hub.broker.managed import ManagedBroker
from hub.broker.mosquitto import BrokerSettings
from hub.pki import Credentials, Pki

HUB = "h-bench"


@dataclass
class BrokerBench:
    """What tests need: `broker`, its `pki` and `folder`, and certificates by `issue` or contexts by `context`."""

    broker: ManagedBroker
    pki: Pki
    folder: Path
    hub_id: str = HUB
    root: str = "tender"
    _issued: dict[str, Credentials] = field(default_factory=dict[str, Credentials])

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self.broker.port

    def issue(self, name: str) -> Credentials:
        """A client certificate with this common name; the hub's own for the hub's id."""
        if name == self.hub_id:
            return self.pki.client("hub", self.hub_id)
        if name not in self._issued:
            self._issued[name] = issue(self.pki, self.folder / "clients", name)
        return self._issued[name]

    def context(self, name: str) -> ssl.SSLContext:
        """A TLS context that trusts the fleet CA and shows the certificate of `name`."""
        return client_context(self.pki, self.issue(name))


def make_csr(common_name: str) -> tuple[str, bytes]:
    """A fresh P-256 key with its request: (CSR, key), both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return csr.public_bytes(Encoding.PEM).decode(), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issue(pki: Pki, folder: Path, name: str) -> Credentials:
    """A client certificate of this CA in `folder`."""
    csr, key = make_csr(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pem"
    path.write_bytes(key + pki.sign_csr(csr, name).pem.encode())
    path.chmod(0o600)
    return Credentials(certificate=path, key=path)


def client_context(pki: Pki, credentials: Credentials | None) -> ssl.SSLContext:
    """As Python 3.13 makes it by default: with strict checks of the chain."""
    context = ssl.create_default_context(cadata=pki.ca_pem)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if credentials is not None:
        context.load_cert_chain(credentials.certificate, credentials.key)
    return context


@contextlib.asynccontextmanager
async def broker_bench(
    folder: Path, *, hub_id: str = HUB, root: str = "tender", observers: tuple[str, ...] = ()
) -> AsyncGenerator[BrokerBench]:
    """A managed broker on a free port of 127.0.0.1, with everything below `folder`."""
    pki = Pki(folder / "pki")
    settings = BrokerSettings(folder=folder / "broker", hub_id=hub_id, root=root, observers=observers)
    async with ManagedBroker(settings, pki) as broker:
        yield BrokerBench(broker, pki, folder, hub_id, root)


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[BrokerBench]:
    """One running broker for one test."""
    async with broker_bench(tmp_path) as made:
        yield made
