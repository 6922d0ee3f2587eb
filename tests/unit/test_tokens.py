"""Join tokens: one string, one use, a short life, and nothing at the hub that could be used again."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from hub.fleet.tokens import hash_of
from hub.pki import Pki
from tests.support.enrolment import EnrolmentBench, enrolment_bench
from wire.failures import InvalidRequest, TooLarge, Unauthorized, Untrusted
from wire.jointoken import JoinToken, check_ca, parse, render


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[EnrolmentBench]:
    async with enrolment_bench(tmp_path) as made:
        yield made


async def test_a_token_says_where_the_hub_is_and_pins_its_ca(bench: EnrolmentBench):
    text = await bench.tokens.issue()
    token = parse(text)
    assert text.startswith("tender1.")
    assert token.url == bench.url
    assert token.ca_sha256 == bench.pki.fingerprint
    check_ca(bench.pki.ca_pem, token.ca_sha256)


async def test_a_token_for_https_brings_the_ca_along_and_still_fits_in_a_line(bench: EnrolmentBench):
    bench.at("https://hub.example:1234")
    text = await bench.tokens.issue()
    assert parse(text).ca == bench.pki.ca_der
    assert len(text) < 1100


async def test_tokens_differ(bench: EnrolmentBench):
    texts = {await bench.tokens.issue() for _ in range(20)}
    assert len({parse(text).secret for text in texts}) == 20


async def test_a_token_works_once_and_again_for_the_same_user_only(bench: EnrolmentBench):
    secret = parse(await bench.tokens.issue()).secret
    await bench.tokens.redeem(secret, "a")
    await bench.tokens.redeem(secret, "a")
    with pytest.raises(Unauthorized, match="another node"):
        await bench.tokens.redeem(secret, "b")


async def test_of_many_at_once_exactly_one_gets_the_token(bench: EnrolmentBench):
    secret = parse(await bench.tokens.issue()).secret
    ends = await asyncio.gather(
        *(bench.tokens.redeem(secret, f"user-{number}") for number in range(20)), return_exceptions=True
    )
    assert sum(not isinstance(end, BaseException) for end in ends) == 1
    assert sum(isinstance(end, Unauthorized) for end in ends) == 19


async def test_a_token_lives_an_hour_unless_told_otherwise(bench: EnrolmentBench):
    secret, longer = parse(await bench.tokens.issue()).secret, parse(await bench.tokens.issue(life=86_400)).secret
    bench.ahead = 3590
    await bench.tokens.redeem(secret, "a")
    bench.ahead = 3610
    with pytest.raises(Unauthorized, match="expired"):
        await bench.tokens.redeem(secret, "a")
    await bench.tokens.redeem(longer, "a")


@pytest.mark.parametrize("life", [0, -1, 86_401, float("inf"), float("nan")])
async def test_a_token_cannot_live_longer_than_a_day(bench: EnrolmentBench, life: float):
    with pytest.raises(InvalidRequest, match="between 1 s and 24 h"):
        await bench.tokens.issue(life=life)


async def test_an_unknown_secret_is_refused(bench: EnrolmentBench):
    with pytest.raises(Unauthorized, match="not issued"):
        await bench.tokens.redeem("A" * 43, "a")


async def test_the_hub_keeps_the_hash_and_never_the_secret(bench: EnrolmentBench):
    text = await bench.tokens.issue()
    secret = parse(text).secret
    await bench.tokens.redeem(secret, "a")
    stored = b"".join(path.read_bytes() for path in sorted(bench.folder.glob("hub.db*")))
    assert hash_of(secret).encode() in stored
    assert secret.encode() not in stored


async def test_a_token_that_would_send_its_secret_in_clear_is_not_issued(bench: EnrolmentBench):
    bench.at("http://hub.example:1234")
    with pytest.raises(InvalidRequest, match="plain http is for this machine only"):
        await bench.tokens.issue()


def made(**changes: object) -> str:
    plain: dict[str, object] = {"url": "http://127.0.0.1:1234", "ca_sha256": "0" * 64, "secret": "A" * 43}
    raw = msgspec.json.encode({key: value for key, value in (plain | changes).items() if value is not None})
    return "tender1." + base64.urlsafe_b64encode(raw).decode()


def test_a_token_survives_being_wrapped_by_a_terminal():
    text = made()
    assert parse(f"  {text[:30]}\n{text[30:60]}\r\n {text[60:]}\n") == parse(text)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "127.8.8.8", "[::1]:1234"])
def test_plain_http_is_taken_on_loopback(host: str):
    assert parse(made(url=f"http://{host}")).url == f"http://{host}"


@pytest.mark.parametrize(
    "url",
    [
        "http://hub.example", "http://10.0.0.1:1234", "http://127.0.0.1.example", "http://localhost.example",
        "http://user:pw@127.0.0.1", "ftp://127.0.0.1", "//127.0.0.1", "http://", "http://127.0.0.1:99999",
        "http://127.0.0.1/?x=1", "http://127.0.0.1/#x", "http://[::1", "http://127.0.0.1/\n", "file:///etc",
    ],
)  # fmt: skip
def test_any_other_url_is_refused(url: str):
    with pytest.raises(InvalidRequest):
        parse(made(url=url))


@pytest.mark.parametrize(
    "text",
    [
        "", "tender1.", "tender2." + made()[8:], made()[:-9], "tender1.!!!!", "tender1.bm9wZQ", made(secret="short"),
        made(secret=None), made(ca_sha256="A" * 64), made(ca="not base64!"), "tender1.W10", "tënder1.x",
        "tender1." + "WwW1" * 500,
    ],
)  # fmt: skip
def test_a_damaged_token_is_refused_without_repeating_it(text: str):
    with pytest.raises(InvalidRequest) as refusal:
        parse(text)
    assert "A" * 43 not in refusal.value.message + refusal.value.hint
    assert refusal.value.hint


def test_an_endless_token_is_refused_before_it_is_parsed():
    with pytest.raises(TooLarge):
        parse("tender1." + "A" * 4096)


def test_a_ca_that_is_not_the_pinned_one_is_refused(tmp_path: Path):
    ours, foreign = Pki(tmp_path / "a"), Pki(tmp_path / "b")
    with pytest.raises(Untrusted, match="another program"):
        raise_with_hint(lambda: check_ca(foreign.ca_pem, ours.fingerprint))
    with pytest.raises(Untrusted):
        check_ca("rubbish", ours.fingerprint)
    token = JoinToken(url="https://hub.example", ca_sha256=ours.fingerprint, secret="A" * 43, ca=foreign.ca_der)
    with pytest.raises(Untrusted):
        parse(render(token))


def raise_with_hint(act):
    try:
        act()
    except Untrusted as error:
        raise Untrusted(f"{error.message} {error.hint}") from None
