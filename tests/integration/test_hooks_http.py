"""Probe hooks that are URLs: a real server that answers well, wrongly, slowly, hugely or from the wrong place."""

import asyncio
import gzip
import json
import resource
import subprocess
import sys

import pytest

from agent.bidding.hook_child import ask_child
from tests.support.hookserver import dripping, hook_server, plain, raw, self_signed
from tests.support.looplag import responsive
from wire.hooks.asking import Hooks
from wire.hooks.post import post
from wire.hooks.reply import is_json
from wire.hooks.settings import HookSettings

QUESTION = json.dumps({"node_id": "n-1", "job_id": "j-1", "name": "$(x) '\" ü\x00"}).encode()
JSON = "Content-Type: application/json"
JSON_UTF8 = "Content-Type: application/json; charset=utf-8"


@pytest.fixture
async def server():
    async with hook_server() as running:
        yield running


def hook(url, **settings):
    return HookSettings(name="policy", http=url, **{"timeout": 60.0, **settings})


@pytest.fixture(params=[ask_child, post], ids=["as a node asks", "as a hub asks"])
def ask(request):
    """Asks one hook, through a child process or in this one; both must find the same."""

    async def ask_one(where, **settings):
        url = where if isinstance(where, str) else f"http://127.0.0.1:{where.port}/decide?site=7"
        with responsive():
            hooks = Hooks([hook(url, **settings)], post=request.param)
            return await hooks.ask(QUESTION, node_id="n-1", job_id="j-1")

    return ask_one


def codes(opinion):
    return [reason.code for reason in opinion.reasons]


async def test_the_question_is_posted_as_json(server, ask):
    assert (await ask(server)).bid
    head, body = server.requests[0]
    assert head.startswith("POST /decide?site=7 HTTP/1.1\r\n")
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head.split("\r\n")[1:]}
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert body == QUESTION


@pytest.mark.parametrize(
    ("status", "body", "header"),
    [
        ("200 OK", b"", JSON),
        ("204 No Content", b"", "X-Nothing: 1"),
        ("202 Accepted", b" \n", "Content-Type: text/plain"),
        ("200 OK", b'{"bid": true}', JSON),
        ("200 OK", b'{"shouldBid": true, "reason": "fine"}', JSON_UTF8),
        ("200 OK", b'{"SHOULDBID": true}', "content-type: APPLICATION/JSON"),
        ("200 OK", b'{"score": 40}', "Content-Type: application/vnd.plant+json"),
    ],
)
async def test_these_are_a_yes(server, status, body, header, ask):
    server.script = plain(status, body, header)
    assert (await ask(server)).bid


@pytest.mark.parametrize(
    ("status", "body", "header", "says"),
    [
        ("200 OK", b'{"bid": false, "reason": "12 % left"}', JSON, "12 % left"),
        ("200 OK", b'{"shouldBid": false, "reason": "no"}', JSON_UTF8, "no"),
        ("200 OK", b'{"ShouldBid": false, "Reason": "No"}', JSON, "No"),
        ("200 OK", b'{"shouldBid": false}', "Content-Type: text/html", "it said no without a reason"),
        ("500 Internal Server Error", b"<html>", "Content-Type: text/html", "answered 500"),
        ("403 Forbidden", b"not on sundays\nmore", "Content-Type: text/plain; charset=utf-8", "not on sundays"),
        ("409 Conflict", b'{"bid": false, "reason": "full"}', JSON_UTF8, "full"),
        ("400 Bad Request", b'{"bid": true}', JSON, "answered 400"),
        ("404 Not Found", b"{", JSON, "answered 404"),
    ],
)
async def test_these_are_a_no_with_a_reason(server, status, body, header, says, ask):
    server.script = plain(status, body, header)
    opinion = await ask(server)
    assert [(reason.code, reason.message) for reason in opinion.reasons] == [("hook-said-no", f"hook policy: {says}")]


async def test_numbers_of_the_answer_arrive(server, ask):
    server.script = plain("200 OK", b'{"bid": true, "score": 12, "cost": 0.5, "ttl": "1m30s"}', JSON_UTF8)
    opinion = await ask(server)
    assert (opinion.score, opinion.cost, opinion.ttl) == (12.0, 0.5, 90.0)


BOMB = gzip.compress(b"\0" * 50_000_000)
HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\nContent-Type: application/json\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
SCRIPTS = {
    "bytes that drip for ever": (
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" ", 0.05),
        "hook-timeout",
    ),
    "headers that drip for ever": (dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", 0.05), "hook-timeout"),
    "silence": (dripping(b"", b"", 0.05), "hook-timeout"),
    "ten declared gigabytes": (dripping(HUGE, b" " * 65536, 0.001), "hook-flood"),
    "chunks without end": (dripping(ENDLESS, CHUNK, 0.001), "hook-flood"),
    "a zip bomb": (plain("200 OK", BOMB, JSON, "Content-Encoding: gzip"), "hook-compressed"),
    "a redirect to the metadata address": (
        plain("302 Found", b"", "Location: http://169.254.169.254/latest/meta-data"),
        "hook-redirect",
    ),
    "a redirect to itself": (plain("307 Temporary Redirect", b"{}", "Location: /decide", JSON), "hook-redirect"),
    "not modified": (plain("304 Not Modified", b""), "hook-redirect"),
    "not a number": (plain("200 OK", b'{"bid": true, "score": NaN}', JSON), "hook-bad-json"),
    "text where JSON belongs": (plain("200 OK", b"OK", "Content-Type: text/plain"), "hook-bad-json"),
    "a page": (plain("200 OK", b"<html>login</html>", "Content-Type: text/html"), "hook-bad-json"),
    "an object that says nothing": (plain("200 OK", b"{}", JSON), "hook-bad-answer"),
    "no HTTP at all": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "hook-unreachable"),
    "half an answer": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"), "hook-unreachable"),
    "nothing and a closed door": (raw(b""), "hook-unreachable"),
}


@pytest.mark.parametrize("kind", SCRIPTS)
async def test_a_fault_does_what_the_owner_says(server, kind, ask):
    server.script, code = SCRIPTS[kind]
    seconds = 2.0 if code == "hook-timeout" else 60.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(60):
        declined = await ask(server, timeout=seconds)
    assert (declined.bid, codes(declined)) == (False, [code])
    accepted = await ask(server, timeout=seconds, on_error="accept")
    assert accepted.bid
    assert [note.code for note in accepted.notes] == [code]
    # The server runs in this process too, so some of the growth is its own buffers.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


async def test_a_server_that_is_away_is_a_fault(server, ask):
    async with hook_server() as gone:
        port = gone.port
    assert codes(await ask(f"http://127.0.0.1:{port}/")) == ["hook-unreachable"]
    assert codes(await ask("http://no-such-host.invalid/")) == ["hook-unreachable"]


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.10.1",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fe80::1]",
        "[fe80::1%lo]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "0.0.0.0",  # noqa: S104 - the address is asked for, not bound to
        "[::]",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
    ],
)
async def test_addresses_where_credentials_are_had_are_never_asked(host, ask):
    opinion = await ask(f"http://{host}/")
    assert codes(opinion) == ["hook-blocked-address"], opinion


async def test_loopback_is_the_owners_own_choice_under_every_name(server, ask):
    for host in ("localhost", "127.0.0.1", "127.1", "2130706433", "[::ffff:127.0.0.1]"):
        assert (await ask(f"http://{host}:{server.port}/")).bid, host


async def test_a_proxy_in_the_environment_is_not_used(server, monkeypatch, ask):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await ask(server)).bid


async def test_a_certificate_of_nobody_is_a_fault_and_one_of_the_owner_is_trusted(tmp_path, ask):
    context, pem = self_signed(tmp_path)
    async with hook_server(context) as server:
        url = f"https://localhost:{server.port}/decide"
        refused = await ask(url)
        assert codes(refused) == ["hook-tls"]
        assert server.requests == []
        assert (await ask(url, ca=str(pem))).bid
        assert codes(await ask(f"https://127.0.0.1:{server.port}/", ca=str(pem))) == ["hook-tls"]
        assert codes(await ask(url, ca=str(tmp_path / "none.pem"))) == ["hook-tls"]


async def test_tls_against_a_plain_server_is_a_fault(server, ask):
    assert codes(await ask(f"https://127.0.0.1:{server.port}/")) == ["hook-tls"]


async def test_a_cancelled_decision_ends_the_question(server, ask):
    server.script = dripping(b"", b"", 0.05)
    task = asyncio.ensure_future(ask(server))
    async with asyncio.timeout(60):
        while not server.requests:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True),
        ("Application/JSON;charset=UTF-8", True),
        (" application/problem+json ; x=y", True),
        ("application/jsonp", False),
        ("text/plain; note=application/json", False),
        ("", False),
    ],
)
def test_a_media_type_is_read_without_its_parameters(content_type, expected):
    assert is_json(content_type) is expected


def test_the_core_never_imports_the_http_client():
    code = "import sys, agent.bidding.bidder; print('httpx' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("False")
