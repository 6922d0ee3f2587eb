"""The fleet CA: what it signs holds under strict checks, and a kill leaves it whole."""

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.pki import DAY, NODE_DAYS, Pki
from tests.support.broker import client_context, issue, make_csr
from tests.support.enrolment import NODE, server_context
from wire import clock
from wire.failures import Conflict, InvalidRequest, TooLarge

START = 1_800_000_000.0


def csr_of(key, name: str = NODE, algorithm: hashes.HashAlgorithm | None = None) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return made.public_bytes(Encoding.PEM).decode()


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """A TLS handshake in memory; returns the server's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    ends[1].do_handshake()
    return ends[1]


def test_both_ends_verify_each_other_under_strict_checks(tmp_path: Path):
    pki = Pki(tmp_path)
    server = server_context(pki)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    server.load_verify_locations(cadata=pki.ca_pem)
    for name in ("localhost", "127.0.0.1"):
        end = shake_hands(server, client_context(pki, issue(pki, tmp_path, NODE)), name)
        peer = end.getpeercert()
        assert peer is not None
        assert peer["subject"] == ((("commonName", NODE),),)


def test_a_server_certificate_is_only_for_its_names(tmp_path: Path):
    pki = Pki(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = pki.server("api", ["hub.example", "192.0.2.7"])
    context.load_cert_chain(made.certificate, made.key)
    for name in ("hub.example", "192.0.2.7"):
        shake_hands(context, client_context(pki, None), name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, client_context(pki, None), "other.example")


def test_a_node_certificate_carries_the_forced_name_and_nothing_that_the_request_asked_for(tmp_path: Path):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "h-hub")])
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hub.example")]), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    signed = Pki(tmp_path).sign_csr(greedy.public_bytes(Encoding.PEM).decode(), NODE)
    made = x509.load_pem_x509_certificate(signed.pem.encode())
    assert made.subject.rfc4514_string() == f"CN={NODE}"
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(x509.ExtensionNotFound):
        made.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_node_certificate_lives_30_days_and_is_due_at_two_thirds(tmp_path: Path):
    signed = Pki(tmp_path, now=lambda: START).sign_csr(make_csr(NODE)[0], NODE)
    assert signed.not_after == START + NODE_DAYS * DAY
    assert signed.renew_at == START + 20 * DAY


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: csr_of(ec.generate_private_key(ec.SECP256R1()), algorithm=hashes.SHA256()), id="p-256"),
        pytest.param(lambda: csr_of(ed25519.Ed25519PrivateKey.generate()), id="ed25519"),
        pytest.param(lambda: csr_of(rsa.generate_private_key(65537, 2048), algorithm=hashes.SHA256()), id="rsa-2048"),
    ],
)
def test_strong_keys_are_signed(tmp_path: Path, key):
    assert Pki(tmp_path).sign_csr(key(), NODE).pem.startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: csr_of(rsa.generate_private_key(65537, 1024), algorithm=hashes.SHA256()), id="rsa-1024"),  # noqa: S505
        pytest.param(lambda: csr_of(ec.generate_private_key(ec.SECP384R1()), algorithm=hashes.SHA256()), id="p-384"),
        pytest.param(lambda: "rubbish", id="rubbish"),
        pytest.param(lambda: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----", id="torn"),
        pytest.param(lambda: "ünïcode", id="not-ascii"),
    ],
)
def test_weak_keys_and_rubbish_are_refused(tmp_path: Path, key):
    with pytest.raises(InvalidRequest):
        Pki(tmp_path).sign_csr(key(), NODE)


def test_a_request_that_its_key_did_not_sign_is_refused(tmp_path: Path):
    der = bytearray(ssl.PEM_cert_to_DER_cert(make_csr(NODE)[0].replace("CERTIFICATE REQUEST", "CERTIFICATE")))
    der[der.index(NODE.encode())] ^= 1
    bent = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST")
    with pytest.raises(InvalidRequest, match="not signed by its own key"):
        Pki(tmp_path).sign_csr(bent, NODE)


def test_an_oversized_request_is_refused_before_it_is_parsed(tmp_path: Path):
    with pytest.raises(TooLarge):
        Pki(tmp_path).sign_csr("x" * 8193, NODE)


def test_a_second_start_finds_the_same_ca_and_certificates(tmp_path: Path):
    first, second = Pki(tmp_path), Pki(tmp_path)
    assert first.fingerprint == second.fingerprint
    assert first.order_signer().public == second.order_signer().public
    before = first.server("broker", ["a.example"]).certificate.read_bytes()
    assert second.server("broker", ["a.example"]).certificate.read_bytes() == before
    assert second.server("broker", ["b.example"]).certificate.read_bytes() != before


def test_own_certificates_are_renewed_when_two_thirds_are_over(tmp_path: Path):
    old = Pki(tmp_path, now=lambda: START).client("hub", "h-hub").certificate.read_bytes()
    assert Pki(tmp_path, now=lambda: START + 260 * DAY).client("hub", "h-hub").certificate.read_bytes() == old
    new = Pki(tmp_path, now=lambda: START + 270 * DAY).client("hub", "h-hub").certificate.read_bytes()
    after = x509.load_pem_x509_certificate(new).not_valid_after_utc
    assert after == dt.datetime.fromtimestamp(START + (270 + 397) * DAY, tz=dt.UTC)


def test_private_keys_are_readable_by_the_owner_only(tmp_path: Path):
    pki = Pki(tmp_path / "pki")
    pki.server("broker", ())
    pki.client("hub", "h-hub")
    pki.order_signer()
    secret = {path.name for path in (tmp_path / "pki").iterdir() if path.stat().st_mode & 0o077 == 0}
    assert secret == {"ca.key", "broker.pem", "hub.pem", "order.key"}
    assert {path.name for path in (tmp_path / "pki").iterdir()} - secret == {"ca.pem"}


def test_two_hubs_have_different_keys(tmp_path: Path):
    assert Pki(tmp_path / "a").fingerprint != Pki(tmp_path / "b").fingerprint


def test_killed_between_key_and_certificate_the_next_start_completes_the_ca(tmp_path: Path):
    pki = Pki(tmp_path)
    key = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.pem").unlink()
    again = Pki(tmp_path)
    assert (tmp_path / "ca.key").read_bytes() == key
    assert (
        x509.load_pem_x509_certificate(again.ca_pem.encode()).public_key()
        == x509.load_pem_x509_certificate(pki.ca_pem.encode()).public_key()
    )


def test_a_lost_or_mixed_up_ca_key_is_an_error_and_never_a_new_ca(tmp_path: Path):
    Pki(tmp_path / "a")
    Pki(tmp_path / "b")
    (tmp_path / "a/ca.key").write_bytes((tmp_path / "b/ca.key").read_bytes())
    with pytest.raises(Conflict, match="does not belong"):
        Pki(tmp_path / "a")
    (tmp_path / "a/ca.key").unlink()
    with pytest.raises(Conflict, match="is gone"):
        Pki(tmp_path / "a")


def test_a_certificate_is_good_on_a_box_whose_clock_is_hours_behind(tmp_path: Path):
    signed = Pki(tmp_path).sign_csr(make_csr(NODE)[0], NODE)
    start = x509.load_pem_x509_certificate(signed.pem.encode()).not_valid_before_utc.timestamp()
    assert clock.unix() - start >= DAY - 1
