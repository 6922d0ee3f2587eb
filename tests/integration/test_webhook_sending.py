"""One try at a receiver: only to addresses that were checked, never along a redirect, and never without an end."""

import asyncio
import socket

import pytest

from hub.policy import WebhookPolicy
from hub.webhooks.retrying import Result
from hub.webhooks.sending import Sender
from tests.support.hookserver import dripping, hook_server, plain, raw, self_signed
from wire.failures import InvalidRequest

LOCAL = WebhookPolicy(allow=["127.0.0.1/32"], plain_http=True)


@pytest.fixture
async def receiver():
    async with hook_server() as server:
        yield server


def leading_to(*answers):
    """A resolver that gives these addresses, one list after the other, and the last again and again."""
    left = list(answers)

    async def look_up(host, port):
        looked_up.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    looked_up = []
    look_up.hosts = looked_up
    return look_up


async def post(sender, url, body=b"{}"):
    return await sender.post(url, {"webhook-id": "d-1"}, body)


async def test_a_message_goes_to_the_address_under_the_name_of_the_host(receiver):
    sender = Sender(LOCAL)
    sender.look_up = leading_to(["127.0.0.1"])
    receiver.script = plain("204 No Content", b"")
    answer = await post(sender, f"http://hooks.example:{receiver.port}/a?b=c", b'{"x": 1}')
    assert (answer.result, answer.status) == (Result.DELIVERED, 204)
    ((head, body),) = receiver.requests
    assert head.startswith("POST /a?b=c HTTP/1.1\r\n")
    assert f"Host: hooks.example:{receiver.port}\r\n" in head
    assert "webhook-id: d-1" in head
    assert body == b'{"x": 1}'
    assert sender.look_up.hosts == ["hooks.example"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "::1",
        "fe80::1%eth0", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "224.0.0.1",
    ],
)  # fmt: skip
async def test_private_and_local_addresses_are_not_connected_to(receiver, address):
    sender = Sender(WebhookPolicy(plain_http=True))
    sender.look_up = leading_to([address])
    answer = await post(sender, f"http://hooks.example:{receiver.port}/")
    assert answer.result is Result.ADDRESS
    assert address in answer.message
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]"])
async def test_no_spelling_of_this_machine_gets_through(receiver, host):
    sender = Sender(WebhookPolicy(plain_http=True))
    answer = await post(sender, f"http://{host}:{receiver.port}/")
    assert answer.result in {Result.ADDRESS, Result.UNREACHABLE}
    assert receiver.connections == 0


async def test_a_name_that_leads_elsewhere_at_the_second_look_is_refused_then(receiver):
    sender = Sender(LOCAL)
    sender.look_up = leading_to(["127.0.0.1"], ["127.0.0.2"])
    assert (await post(sender, f"http://rebind.example:{receiver.port}/")).result is Result.DELIVERED
    assert sender.look_up.hosts == ["rebind.example"]
    assert (await post(sender, f"http://rebind.example:{receiver.port}/")).result is Result.ADDRESS
    assert receiver.connections == 1


async def test_of_several_addresses_only_those_that_are_allowed_are_tried(receiver):
    sender = Sender(LOCAL)
    sender.look_up = leading_to(["127.0.0.3", "10.0.0.1", "127.0.0.1"])
    assert (await post(sender, f"http://hooks.example:{receiver.port}/")).result is Result.DELIVERED


async def test_a_redirect_is_not_followed(receiver):
    async with hook_server() as other:
        receiver.script = plain("302 Found", b"", f"Location: http://127.0.0.1:{other.port}/stolen")
        answer = await post(Sender(LOCAL), f"http://127.0.0.1:{receiver.port}/")
        assert (answer.result, answer.status) == (Result.REDIRECT, 302)
        assert other.connections == 0


@pytest.mark.parametrize(
    ("script", "result", "status"),
    [
        (plain("500 Oops", b""), Result.REFUSED, 500),
        (plain("404 Not Found", b"x" * 100_000), Result.REFUSED, 404),
        (plain("410 Gone", b""), Result.GONE, 410),
        (raw(b""), Result.UNREACHABLE, 0),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), Result.UNREACHABLE, 0),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000), Result.UNREACHABLE, 0),
        (raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 3), Result.UNREACHABLE, 0),
        (dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.02), Result.TIMEOUT, 0),
        (dripping(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02), Result.TIMEOUT, 0),
        (dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 8192, 0), Result.DELIVERED, 200),
    ],
)
async def test_whatever_a_receiver_answers_there_is_an_end(receiver, script, result, status):
    receiver.script = script
    async with asyncio.timeout(60):
        answer = await post(
            Sender(LOCAL, whole=0.5 if result is Result.TIMEOUT else 8), f"http://127.0.0.1:{receiver.port}/"
        )
    assert (answer.result, answer.status) == (result, status)
    assert len(answer.message) <= 300


async def test_a_receiver_may_say_when_to_come_back(receiver):
    receiver.script = plain("429 Too Many Requests", b"", "Retry-After: 120")
    assert (await post(Sender(LOCAL), f"http://127.0.0.1:{receiver.port}/")).retry_after == 120
    receiver.script = plain("503 Later", b"", "Retry-After: Fri, 31 Dec 2099 23:59:59 GMT")
    assert (await post(Sender(LOCAL), f"http://127.0.0.1:{receiver.port}/")).retry_after > 10**9
    for nonsense in ("soon", "-5", "Fri, 99 Dec", "\u0664"):
        receiver.script = plain("503 Later", b"", f"Retry-After: {nonsense}")
        assert (await post(Sender(LOCAL), f"http://127.0.0.1:{receiver.port}/")).retry_after == 0


async def test_who_does_not_listen_or_does_not_exist_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert (await post(Sender(LOCAL), f"http://127.0.0.1:{port}/")).result is Result.UNREACHABLE
    sender = Sender(LOCAL)

    async def nowhere(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    sender.look_up = nowhere
    answer = await post(sender, "https://nowhere.example/")
    assert (answer.result, "not known" in answer.message) == (Result.UNREACHABLE, True)


async def test_a_name_server_that_hangs_costs_no_more_than_the_deadline():
    async def hang(host, port):
        await asyncio.Event().wait()

    sender = Sender(LOCAL, whole=0.05)
    sender.look_up = hang
    assert (await post(sender, "https://hooks.example/")).result is Result.TIMEOUT


async def test_tls_is_verified_for_the_name_and_the_owner_may_name_an_authority(tmp_path):
    context, certificate = self_signed(tmp_path, "hooks.example")
    async with hook_server(context) as receiver:
        for policy, host, result in (
            (LOCAL, "hooks.example", Result.TLS),
            (WebhookPolicy(allow=LOCAL.allow, ca=str(certificate)), "hooks.example", Result.DELIVERED),
            (WebhookPolicy(allow=LOCAL.allow, ca=str(certificate)), "other.example", Result.TLS),
        ):
            sender = Sender(policy)
            sender.look_up = leading_to(["127.0.0.1"])
            assert (await post(sender, f"https://{host}:{receiver.port}/")).result is result, host
        assert len(receiver.requests) == 1


async def test_a_receiver_of_plain_http_behind_https_is_a_fault_of_tls(receiver):
    answer = await post(Sender(LOCAL), f"https://127.0.0.1:{receiver.port}/")
    assert answer.result is Result.TLS
    assert not receiver.requests


def test_authorities_that_cannot_be_read_are_told_at_the_start(tmp_path):
    (tmp_path / "no.pem").write_text("nothing")
    for name in ("no.pem", "missing.pem"):
        with pytest.raises(InvalidRequest, match=r"webhooks\.ca"):
            Sender(WebhookPolicy(ca=str(tmp_path / name)))
