"""Enrolment at the hub: who gets a certificate, who does not, and what a lost reply costs."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from cryptography import x509

from hub.fleet.enrolment import Enrolment, HubFacts
from tests.support.broker import make_csr
from tests.support.enrolment import NODE, OTHER, Applicant, EnrolmentBench, enrolment_bench
from wire.failures import Conflict, Forbidden, InvalidRequest, TooLarge, Unauthorized
from wire.signing import Signer
from wire.states import Membership


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[EnrolmentBench]:
    async with enrolment_bench(tmp_path) as made:
        yield made


def name_in(pem: str) -> str:
    return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()


async def test_a_node_gets_all_it_needs_to_connect_and_waits_for_approval(bench: EnrolmentBench):
    reply = await bench.enrolment.enrol(Applicant().asks(await bench.tokens.issue()))
    assert name_in(reply.certificate) == f"CN={NODE}"
    assert (reply.node_id, reply.hub_id, reply.root, reply.brokers) == (NODE, "h-bench", "tender", ["127.0.0.1:8883"])
    assert reply.ca == bench.pki.ca_pem
    assert bytes.fromhex(reply.hub_order_key) == bench.signer.public
    assert reply.membership is Membership.PENDING
    known = await bench.members.get_node(NODE)
    assert known is not None
    assert known.public_key == Applicant().signer.public.hex()


async def test_a_token_may_bring_the_approval_along(bench: EnrolmentBench):
    reply = await bench.enrolment.enrol(Applicant().asks(await bench.tokens.issue(approve=True)))
    assert reply.membership is Membership.APPROVED


async def test_a_used_token_is_refused_to_another_node(bench: EnrolmentBench):
    token = await bench.tokens.issue()
    await bench.enrolment.enrol(Applicant().asks(token))
    for other in (Applicant(OTHER), Applicant(OTHER, Signer(b"\x08" * 32))):
        with pytest.raises(Unauthorized, match="used by another node"):
            await bench.enrolment.enrol(other.asks(token))
    assert await bench.members.get_node(OTHER) is None


async def test_an_expired_token_is_refused_and_leaves_no_node(bench: EnrolmentBench):
    token = await bench.tokens.issue(life=60)
    bench.ahead = 61
    with pytest.raises(Unauthorized, match="expired"):
        await bench.enrolment.enrol(Applicant().asks(token))
    assert await bench.members.get_node(NODE) is None


async def test_a_reply_that_got_lost_is_given_again(bench: EnrolmentBench):
    request = Applicant().asks(await bench.tokens.issue())
    first = await bench.enrolment.enrol(request)
    second = await bench.enrolment.enrol(request)
    same = {"certificate": "", "renew_at": 0, "not_after": 0}
    assert msgspec.structs.replace(first, **same) == msgspec.structs.replace(second, **same)
    keys = [x509.load_pem_x509_certificate(r.certificate.encode()).public_key() for r in (first, second)]
    assert keys[0] == keys[1]


async def test_a_node_that_lost_its_tls_key_before_the_reply_can_repeat_with_another(bench: EnrolmentBench):
    token = await bench.tokens.issue()
    await bench.enrolment.enrol(Applicant().asks(token))
    again = await bench.enrolment.enrol(Applicant(csr=make_csr("x")[0]).asks(token))
    assert name_in(again.certificate) == f"CN={NODE}"


async def test_a_repeat_does_not_outlive_the_token(bench: EnrolmentBench):
    request = Applicant().asks(await bench.tokens.issue(life=60))
    await bench.enrolment.enrol(request)
    bench.ahead = 61
    with pytest.raises(Unauthorized, match="expired"):
        await bench.enrolment.enrol(request)


async def test_a_bad_request_does_not_use_the_token_up(bench: EnrolmentBench):
    token = await bench.tokens.issue()
    with pytest.raises(InvalidRequest):
        await bench.enrolment.enrol(Applicant(OTHER, csr="rubbish").asks(token))
    assert (await bench.enrolment.enrol(Applicant().asks(token))).node_id == NODE


async def test_nobody_enrols_with_a_key_that_is_not_theirs(bench: EnrolmentBench):
    request = Applicant().asks(await bench.tokens.issue())
    mallory = Signer(b"\x09" * 32)
    for bent in (
        msgspec.structs.replace(request, proof=mallory.sign(request.proven()).hex()),
        msgspec.structs.replace(request, proof="0" * 128),
        msgspec.structs.replace(request, csr=make_csr(NODE)[0]),
        msgspec.structs.replace(request, node_id=OTHER),
        msgspec.structs.replace(request, order_key=mallory.public.hex()),
        msgspec.structs.replace(request, order_key="f" * 64),
    ):
        with pytest.raises(Unauthorized, match="order key"):
            await bench.enrolment.enrol(bent)


async def test_the_id_of_a_known_node_cannot_be_taken_with_a_fresh_token(bench: EnrolmentBench):
    await bench.enrolment.enrol(Applicant().asks(await bench.tokens.issue()))
    thief = Applicant(NODE, Signer(b"\x09" * 32))
    with pytest.raises(Conflict, match="another key"):
        await bench.enrolment.enrol(thief.asks(await bench.tokens.issue(approve=True)))
    known = await bench.members.get_node(NODE)
    assert known is not None
    assert known.membership is Membership.PENDING


async def test_joining_again_keeps_an_approval(bench: EnrolmentBench):
    await bench.enrolment.enrol(Applicant().asks(await bench.tokens.issue(approve=True)))
    reply = await bench.enrolment.enrol(Applicant().asks(await bench.tokens.issue(), name="new-name"))
    assert reply.membership is Membership.APPROVED


async def test_a_rejected_node_gets_nothing(bench: EnrolmentBench):
    await bench.enrolment.enrol(Applicant().asks(await bench.tokens.issue()))
    await bench.members.decide(NODE, "reject", "stolen")
    with pytest.raises(Forbidden, match="rejected"):
        await bench.enrolment.enrol(Applicant().asks(await bench.tokens.issue(approve=True)))
    with pytest.raises(Forbidden, match="rejected"):
        await bench.enrolment.renew(Applicant().renews())


async def test_a_known_node_renews_even_long_after_its_certificate_expired(bench: EnrolmentBench):
    first = await bench.enrolment.enrol(Applicant().asks(await bench.tokens.issue(approve=True)))
    bench.ahead = 100 * 86_400
    reply = await bench.enrolment.renew(Applicant().renews())
    assert reply.not_after > first.not_after + 99 * 86_400
    assert reply.membership is Membership.APPROVED
    assert name_in(reply.certificate) == f"CN={NODE}"


async def test_nobody_else_renews_for_a_node(bench: EnrolmentBench):
    await bench.enrolment.enrol(Applicant().asks(await bench.tokens.issue()))
    with pytest.raises(Unauthorized, match="order key"):
        await bench.enrolment.renew(Applicant(NODE, Signer(b"\x09" * 32)).renews())
    with pytest.raises(Unauthorized, match="not known"):
        await bench.enrolment.renew(Applicant(OTHER).renews())


async def test_a_proof_for_joining_is_none_for_renewing(bench: EnrolmentBench):
    request = Applicant().asks(await bench.tokens.issue())
    await bench.enrolment.enrol(request)
    with pytest.raises(Unauthorized):
        await bench.enrolment.renew(msgspec.structs.replace(Applicant().renews(), proof=request.proof))


async def test_an_oversized_body_is_refused_before_it_is_parsed(bench: EnrolmentBench):
    with pytest.raises(TooLarge):
        await bench.enrolment.enrol_bytes(b"[" * 16_385)
    with pytest.raises(TooLarge):
        await bench.enrolment.renew_bytes(b"[" * 16_385)


@pytest.mark.parametrize(
    "change",
    [
        {"node_id": "h-bench"}, {"node_id": "n-1"}, {"node_id": NODE.upper()}, {"node_id": NODE + "\n"},
        {"name": ""}, {"name": "a/b"}, {"name": "x" * 64}, {"name": "[red]"}, {"name": "a\nb"}, {"csr": ""},
        {"csr": "x" * 8193}, {"order_key": "00"}, {"proof": "00"}, {"token": ""}, {"token": 7}, {"name": "box\n"},
    ],
)  # fmt: skip
async def test_fields_out_of_shape_are_refused_with_their_name(bench: EnrolmentBench, change: dict[str, object]):
    fields = msgspec.to_builtins(Applicant().asks(await bench.tokens.issue())) | change
    with pytest.raises(InvalidRequest, match=next(iter(change))):
        await bench.enrolment.enrol_bytes(msgspec.json.encode(fields))


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 16_000])
async def test_rubbish_is_refused(bench: EnrolmentBench, body: bytes):
    with pytest.raises(InvalidRequest):
        await bench.enrolment.enrol_bytes(body)


async def test_a_hub_cannot_be_called_like_a_node(bench: EnrolmentBench):
    facts = HubFacts(hub_id=NODE, order_key=b"", brokers=[], root="tender")
    with pytest.raises(ValueError, match="node id"):
        Enrolment(pki=bench.pki, tokens=bench.tokens, nodes=bench.members, facts=lambda: facts)
