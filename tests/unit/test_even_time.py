"""Clocks that are set while something waits."""

import asyncio
import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.session import heed_dates
from tests.support.served_port import served_port
from wire.even_time import EvenTime

S = 10**9
DAY = 86_400


class Clocks:
    """A wall clock that a test sets, and a steady one."""

    def __init__(self) -> None:
        self.wall_ns, self.seconds = 1_800_000_000 * S, 1000.0

    def wall(self) -> int:
        return self.wall_ns

    def steady(self) -> float:
        return self.seconds

    def passes(self, seconds: float, *, set_by: float = 0.0) -> None:
        self.seconds += seconds
        self.wall_ns += int((seconds + set_by) * S)


@pytest.mark.parametrize("jump", [400 * DAY, -365 * DAY, 3600, -60])
def test_time_goes_on_evenly_over_a_jump(jump):
    clocks = Clocks()
    even = EvenTime(clocks.wall, clocks.steady)
    before = even()
    clocks.passes(5, set_by=jump)
    assert even() - before == 5 * S
    clocks.passes(60)
    assert even() - before == 65 * S
    assert even.jumped


def test_small_corrections_are_followed_and_a_clock_that_is_set_back_is_believed_again():
    clocks = Clocks()
    even = EvenTime(clocks.wall, clocks.steady)
    clocks.passes(5, set_by=0.4)
    assert even() == clocks.wall_ns
    clocks.passes(5, set_by=DAY)
    assert even() < clocks.wall_ns
    clocks.passes(5, set_by=-DAY)
    assert even() == clocks.wall_ns
    assert not even.jumped


def test_it_begins_where_something_was_written_down_and_follows_a_clock_that_comes_so_far():
    clocks = Clocks()
    floor = clocks.wall_ns
    clocks.passes(0, set_by=-50 * 365 * DAY)
    even = EvenTime(clocks.wall, clocks.steady, floor)
    clocks.passes(30)
    assert even() == floor + 30 * S
    clocks.passes(30, set_by=50 * 365 * DAY)
    assert even() == clocks.wall_ns
    clocks.passes(5, set_by=DAY)
    assert even() < clocks.wall_ns


def certificates(folder, starts: dt.timedelta, lasts: dt.timedelta) -> ssl.SSLContext:
    """A server of a CA in `folder`/ca.pem, both valid from then and for so long."""
    now = dt.datetime.now(tz=dt.UTC)  # noqa: TID251  OpenSSL reads the real clock
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    made = []
    for place, name in enumerate(("ca", "127.0.0.1")):
        builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
        builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
        builder = builder.not_valid_before(now + starts).not_valid_after(now + starts + lasts)
        builder = builder.add_extension(x509.BasicConstraints(ca=not place, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        made.append(builder.public_key(keys[place].public_key()).sign(keys[0], hashes.SHA256()))
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(made[0].public_bytes(pem))
    private = keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + made[1].public_bytes(pem))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return server


async def reaches(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with served_port(serve, server) as port:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
        except ssl.SSLCertVerificationError:
            return False
        writer.transport.abort()
        return True


async def test_a_box_whose_clock_is_before_its_own_certificate_reaches_its_broker_all_the_same(tmp_path):
    server = certificates(tmp_path, dt.timedelta(days=2), dt.timedelta(days=30))
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    assert not await reaches(server, client)
    assert not heed_dates(client, floor=20 * 365 * DAY, now=100.0)
    assert await reaches(server, client)
    assert heed_dates(client, floor=20 * 365 * DAY, now=20 * 365 * DAY + 1)
    assert not await reaches(server, client)


async def test_a_wrong_clock_excuses_no_other_ca_and_a_right_one_no_certificate_that_is_over(tmp_path):
    server = certificates(tmp_path, dt.timedelta(days=-30), dt.timedelta(days=20))
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    assert heed_dates(client, floor=100.0, now=200.0)
    assert not await reaches(server, client)
    stranger = ssl.create_default_context()
    heed_dates(stranger, floor=20 * 365 * DAY, now=100.0)
    assert not await reaches(server, stranger)
