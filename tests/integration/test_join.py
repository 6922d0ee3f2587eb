"""A box joins a fleet with one pasted string: real children, real HTTP and HTTPS, a real hub and broker."""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.enrol import enrol, renew, renewal_is_due
from agent.identity import Identity, load_or_make
from hub.pki import Pki
from tests.support.broker import broker_bench
from tests.support.enrolment import EnrolmentBench, enrolment_bench, server_context
from tests.support.hub_process import HubProcess
from tests.support.mqtt import PlainClient
from wire.failures import Conflict, Forbidden, InvalidRequest, Unauthorized, Untrusted
from wire.jointoken import parse
from wire.link import mutual_tls
from wire.states import Membership


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[EnrolmentBench]:
    async with enrolment_bench(tmp_path / "hub") as made:
        yield made


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return load_or_make(tmp_path / "node")


def names(identity: Identity) -> set[str]:
    return {path.name for path in identity.folder.iterdir()}


def usable(identity: Identity) -> ssl.SSLContext:
    return mutual_tls(str(identity.ca), str(identity.certificate), str(identity.tls_key))


async def test_a_box_joins_over_http_on_this_machine_and_can_use_what_it_got(bench: EnrolmentBench, identity: Identity):
    async with bench.serving():
        joined = await enrol(identity, await bench.tokens.issue(), "box")
    assert joined.reply.node_id == identity.node_id
    assert identity.enrolment() == joined
    assert names(identity) == {"node.json", "tls.key", "tls.pem", "ca.pem", "enrolment.json"}
    assert identity.tls_key.stat().st_mode & 0o777 == 0o600
    assert usable(identity)
    assert not renewal_is_due(joined)


async def test_a_box_joins_over_https_with_the_ca_from_the_token(bench: EnrolmentBench, identity: Identity):
    async with bench.serving(server_context(bench.pki)):
        joined = await enrol(identity, await bench.tokens.issue(), "box")
    assert joined.url.startswith("https://")
    assert usable(identity)


async def test_an_impostor_at_the_https_address_hears_no_secret(
    bench: EnrolmentBench, identity: Identity, tmp_path: Path
):
    async with bench.serving(server_context(Pki(tmp_path / "impostor"))):
        with pytest.raises(Untrusted, match="does not have a certificate of this fleet"):
            await enrol(identity, await bench.tokens.issue(), "box")
    assert bench.requests == []
    assert identity.enrolment() is None


async def test_an_answer_with_another_ca_is_refused(bench: EnrolmentBench, identity: Identity, tmp_path: Path):
    async with bench.serving():
        token = await bench.tokens.issue()
        bench.pki.ca_pem = Pki(tmp_path / "impostor").ca_pem
        with pytest.raises(Untrusted, match="the join token names"):
            await enrol(identity, token, "box")
    assert identity.enrolment() is None
    assert names(identity) == {"node.json", "tls.key"}


async def test_lost_replies_and_a_failing_hub_are_waited_out_and_said(bench: EnrolmentBench, identity: Identity):
    said: list[str] = []
    bench.losing = 1
    async with bench.serving():
        token = await bench.tokens.issue()
        bench.failing.append(503)
        joined = await enrol(identity, token, "box", say=said.append)
    assert joined.reply.node_id == identity.node_id
    assert len(bench.requests) == 3
    assert len(said) == 2
    assert all("trying again in" in line for line in said)


async def test_a_box_killed_after_the_hub_answered_joins_with_the_same_token(bench: EnrolmentBench, identity: Identity):
    async with bench.serving():
        token = await bench.tokens.issue()
        await enrol(identity, token, "box")
        key = identity.tls_key.read_bytes()
        for kept in ({"node.json", "tls.key"}, {"node.json", "tls.key", "ca.pem", "tls.pem"}, {"node.json"}):
            for name in names(identity) - kept:
                (identity.folder / name).unlink()
            await enrol(load_or_make(identity.folder.parent), token, "box")
            assert usable(identity)
            assert ("tls.key" not in kept) or identity.tls_key.read_bytes() == key


async def test_a_hub_that_is_away_is_waited_for(bench: EnrolmentBench, identity: Identity):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bench.at(f"http://127.0.0.1:{port}")
    token, waiting = await bench.tokens.issue(), asyncio.Event()
    joining = asyncio.create_task(enrol(identity, token, "box", say=lambda _: waiting.set()))
    async with asyncio.timeout(60):
        await waiting.wait()
    async with bench.serving(port=port):
        async with asyncio.timeout(60):
            joined = await joining
    assert joined.reply.node_id == identity.node_id


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthorized), (403, Forbidden), (409, Conflict), (404, InvalidRequest), (302, InvalidRequest)],
)
async def test_a_refusal_ends_it_at_once(bench: EnrolmentBench, identity: Identity, status: int, kind: type[Exception]):
    bench.failing.append(status)
    async with bench.serving():
        with pytest.raises(kind):
            await enrol(identity, await bench.tokens.issue(), "box")
    assert len(bench.requests) == 1


async def test_a_refusal_says_what_the_hub_said(bench: EnrolmentBench, identity: Identity, tmp_path: Path):
    async with bench.serving():
        token = await bench.tokens.issue()
        await enrol(load_or_make(tmp_path / "other"), token, "other")
        with pytest.raises(Unauthorized, match="used by another node") as refusal:
            await enrol(identity, token, "box")
    assert "new token" in refusal.value.hint


async def test_a_name_that_the_hub_would_refuse_is_refused_before_it_is_asked(
    bench: EnrolmentBench, identity: Identity
):
    async with bench.serving():
        with pytest.raises(InvalidRequest, match="name"):
            await enrol(identity, await bench.tokens.issue(), "not a name")
    assert bench.requests == []


async def test_a_certificate_is_renewed_for_the_same_key(bench: EnrolmentBench, identity: Identity):
    async with bench.serving():
        await enrol(identity, await bench.tokens.issue(approve=True), "box")
        key, before = identity.tls_key.read_bytes(), identity.certificate.read_bytes()
        bench.ahead = 86_400.0
        renewed = await renew(identity)
    assert identity.tls_key.read_bytes() == key
    assert identity.certificate.read_bytes() != before
    assert identity.enrolment() == renewed
    assert renewed.reply.membership is Membership.APPROVED
    assert usable(identity)


async def test_a_renewal_over_https_is_verified_too(bench: EnrolmentBench, identity: Identity, tmp_path: Path):
    async with bench.serving(server_context(bench.pki)):
        joined = await enrol(identity, await bench.tokens.issue(), "box")
        assert (await renew(identity)).url == joined.url
        port = int(joined.url.rpartition(":")[2])
    bench.requests.clear()
    async with bench.serving(server_context(Pki(tmp_path / "impostor")), port=port):
        with pytest.raises(Untrusted):
            await renew(identity)
    assert bench.requests == []


async def test_nobody_renews_before_joining(identity: Identity):
    with pytest.raises(Conflict, match="has not joined"):
        await renew(identity)


async def test_the_secret_is_in_no_argv_no_environment_and_no_file(bench: EnrolmentBench, identity: Identity):
    seen: list[bytes] = []
    token = ""

    def look(_: str) -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    seen.append((folder / name).read_bytes())
                except OSError:
                    continue

    bench.losing = 1
    async with bench.serving():
        token = await bench.tokens.issue()
        watcher = asyncio.create_task(asyncio.to_thread(look, ""))
        await enrol(identity, token, "box", say=look)
        await watcher
    secret = parse(token).secret.encode()
    assert seen
    assert not any(secret in text for text in seen)
    assert not any(secret in path.read_bytes() for path in identity.folder.iterdir())


async def test_a_box_joins_a_real_hub_and_its_certificate_opens_the_real_broker(identity: Identity, tmp_path: Path):
    async with HubProcess(tmp_path / "real") as hub:
        joined = await enrol(identity, await hub.token(), "box")
        port = int(joined.reply.brokers[0].rpartition(":")[2])
        async with PlainClient(port, usable(identity), identity.node_id) as node:
            base = f"{joined.reply.root}/1/n/{identity.node_id}"
            assert await node.code_of(f"{base}/ev", b"hello") in {0, 16}
            assert await node.code_of(f"{base}/inv/t-1", b"forged") == 135


async def test_what_a_node_of_one_fleet_got_opens_no_other_fleet(
    bench: EnrolmentBench, identity: Identity, tmp_path: Path
):
    async with bench.serving():
        await enrol(identity, await bench.tokens.issue(), "box")
    async with broker_bench(tmp_path / "elsewhere") as other:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", other.port, ssl=usable(identity), server_hostname="localhost")


async def test_the_core_can_join_without_importing_what_belongs_to_children():
    heavy = "{'cryptography', 'httpx', 'boto3', 'wasmtime', 'pydantic'}"
    probe = f"import sys, agent.enrol; print(*sorted({heavy} & set(sys.modules)))"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", probe, cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath},
    )  # fmt: skip
    out, _ = await child.communicate()
    assert child.returncode == 0
    assert out.split() == []
