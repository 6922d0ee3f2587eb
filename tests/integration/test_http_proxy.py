"""The proxy of a job's domains over real sockets: what it passes on, what it refuses, what it survives."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from agent.executors.http_network import Way
from agent.workers.http_gate import Gate
from agent.workers.http_proxy import CONNECTIONS, Proxy
from tests.support.served_port import served_port
from tests.support.web import answer, web_server

NAMES = {"www.plant.example": ["127.0.0.1"], "inside.plant.example": ["10.0.0.7"], "www.other.example": ["127.0.0.1"]}
NAMES["127.0.0.1"] = ["127.0.0.1"]
DOMAINS = ["www.plant.example", "inside.plant.example", ".lines.example"]


async def look_up(host: str, port: int) -> list[str]:
    if host not in NAMES:
        raise OSError("no such name")
    return NAMES[host]


class Bench:
    """A proxy, and a web server behind it that answers to all names."""

    def __init__(self, port: int, site) -> None:
        self.port, self.site = port, site
        self.server = int(site.url.rpartition(":")[2])

    async def say(self, text: str, *, more: bytes = b"", end: bool = False) -> bytes:
        """Send one request (`{port}` is the server's) and read to the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(text.replace("{port}", str(self.server)).replace("\n", "\r\n").encode() + more)
        if end:
            writer.write_eof()
        async with asyncio.timeout(60):
            got = await reader.read()
        writer.transport.abort()
        return got

    async def get(self, host: str, path: str = "/page") -> bytes:
        return await self.say(f"GET http://{host}:{{port}}{path} HTTP/1.1\nHost: {host}\n\n")


@contextlib.asynccontextmanager
async def proxied(**changes) -> AsyncGenerator[Bench]:
    way = Way(changes.get("domains", DOMAINS), changes.get("allow", ["www.plant.example"]))
    proxy = Proxy(Gate(way, look_up))
    async with web_server() as site, served_port(proxy.serve) as port:
        site.pages["*"] = [answer("200 OK", b"the page")]
        yield Bench(port, site)


@pytest.fixture(name="bench")
async def bench_fixture():
    async with proxied() as bench:
        yield bench


async def test_a_request_is_passed_on_and_the_answer_comes_back(bench):
    got = await bench.get("www.plant.example", "/page?a=b")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"\r\n\r\nthe page")
    assert bench.site.asked == ["/page?a=b"]


REFUSED = {
    "a name that is not listed": (
        "GET http://www.other.example:{port}/ HTTP/1.1\nHost: x\n\n",
        403,
        "domain-not-listed",
    ),
    "a name below a listed one": (
        "GET http://a.www.plant.example:{port}/ HTTP/1.1\nHost: x\n\n",
        403,
        "domain-not-listed",
    ),
    "an address": ("GET http://127.0.0.1:{port}/ HTTP/1.1\nHost: x\n\n", 403, "domain-not-listed"),
    "a listed name that leads to a private address": (
        "GET http://inside.plant.example/ HTTP/1.1\nHost: x\n\n",
        403,
        "address-not-allowed",
    ),
    "a tunnel to an address": ("CONNECT 127.0.0.1:{port} HTTP/1.1\nHost: x\n\n", 403, "tunnel-to-address"),
    "a tunnel to an address in an old spelling": (
        "CONNECT 0x7f.1:{port} HTTP/1.1\nHost: x\n\n",
        403,
        "tunnel-to-address",
    ),
    "a tunnel to a name that is not listed": (
        "CONNECT www.other.example:443 HTTP/1.1\nHost: x\n\n",
        403,
        "domain-not-listed",
    ),
    "a tunnel to mail": ("CONNECT www.plant.example:25 HTTP/1.1\nHost: x\n\n", 403, "port-not-allowed"),
    "a name that nobody knows": ("GET http://a.lines.example/ HTTP/1.1\nHost: x\n\n", 502, "unknown-host"),
    "a server that is not there": ("GET http://www.plant.example:1/ HTTP/1.1\nHost: x\n\n", 403, "port-not-allowed"),
    "a port that nobody listens on": (
        "GET http://www.plant.example:65535/ HTTP/1.1\nHost: x\n\n",
        502,
        "no-connection",
    ),
    "a path alone": ("GET / HTTP/1.1\nHost: www.plant.example\n\n", 400, "bad-target"),
    "another scheme": ("GET ftp://www.plant.example/ HTTP/1.1\nHost: x\n\n", 400, "bad-target"),
    "a user in the address": ("GET http://www.plant.example@x.example/ HTTP/1.1\nHost: x\n\n", 400, "bad-target"),
    "a tunnel without a port": ("CONNECT www.plant.example HTTP/1.1\nHost: x\n\n", 400, "bad-target"),
    "a port that is none": ("GET http://www.plant.example:99999/ HTTP/1.1\nHost: x\n\n", 400, "bad-target"),
    "no HTTP": ("hello\n\n\n", 400, "bad-request"),
    "two lengths": (
        "POST http://www.plant.example/ HTTP/1.1\nHost: x\nContent-Length: 1\nContent-Length: 2\n\n",
        400,
        "bad-request",
    ),
    "a head without end": (
        "GET http://www.plant.example/ HTTP/1.1\nHost: x\nA: " + "a" * 70_000 + "\n\n",
        431,
        "bad-request",
    ),
}


@pytest.mark.parametrize(("request_", "status", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_is_not_allowed_is_refused_with_its_reason(bench, request_, status, code):
    got = (await bench.say(request_)).decode()
    assert got.startswith(f"HTTP/1.1 {status} {code}\r\n")
    assert f"X-Tender-Refused: {code}\r\n" in got
    assert got.partition("\r\n\r\n")[2].startswith("tender: ")
    assert not bench.site.asked


async def test_the_server_hears_the_name_that_was_checked_and_nothing_meant_for_the_proxy(bench):
    heads = []

    async def script(head, writer):
        heads.append(head)
        writer.write(answer("200 OK", b"ok"))

    bench.site.scripts["/"] = script
    await bench.say(
        "GET http://www.plant.example:{port}/ HTTP/1.1\nHost: admin.plant.example\nProxy-Authorization: secret\n"
        "Connection: X-Own, keep-alive\nX-Own: 1\nX-Kept: 2\n\n"
    )
    (head,) = heads
    assert f"Host: www.plant.example:{bench.server}\r\n" in head
    assert "X-Kept: 2" in head.replace("x-kept", "X-Kept")
    for word in ("admin", "secret", "x-own", "keep-alive"):
        assert word not in head.lower()


async def test_a_second_request_on_the_connection_is_not_passed_on_unchecked(bench):
    both = (
        "GET http://www.plant.example:{port}/1 HTTP/1.1\nHost: x\n\nGET http://www.other.example:{port}/2 HTTP/1.1\n\n"
    )
    got = await bench.say(both)
    assert got.endswith(b"the page")
    assert bench.site.asked == ["/1"]


async def test_a_body_goes_up_in_chunks_once_it_is_asked_for(bench):
    bodies = []

    async def server(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        bodies.append((head, await reader.readuntil(b"0\r\n\r\n")))
        writer.write(b"HTTP/1.0 201 Created\r\n\r\nthanks")
        writer.close()

    async with served_port(server) as port:
        got = await bench.say(
            f"PUT http://www.plant.example:{port}/ HTTP/1.1\nHost: x\nExpect: 100-continue\n"
            "Transfer-Encoding: chunked\n\n",
            more=b"5\r\nhello\r\n0\r\n\r\n",
        )
    ((head, body),) = bodies
    assert b"expect" not in head.lower()
    assert body == b"5\r\nhello\r\n0\r\n\r\n"
    assert got.startswith((b"HTTP/1.1 201 Created\r\n", b"HTTP/1.1 100 "))
    assert b"thanks" in got


async def test_a_tunnel_carries_bytes_both_ways_and_half_closes(bench):
    async def echo(reader, writer):
        writer.write(b"early ")
        writer.write(await reader.read())
        writer.close()

    async with served_port(echo) as port:
        request = f"CONNECT www.plant.example:{port} HTTP/1.1\nHost: x\n\n"
        got = await bench.say(request, more=bytes(range(256)), end=True)
    head, _, rest = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert rest == b"early " + bytes(range(256))


async def test_a_large_answer_flows_and_a_torn_one_is_not_made_whole(bench):
    big = b"x" * 8_000_000
    bench.site.pages["/big"] = [answer("200 OK", big)]
    assert (await bench.get("www.plant.example", "/big")).endswith(big[-1000:])
    bench.site.pages["/torn"] = [answer("200 OK", b"short", Content_Length="100")]
    got = await bench.get("www.plant.example", "/torn")
    assert got.endswith(b"short")
    assert b"content-length: 100" in got.lower()


async def test_an_answer_that_is_no_http_becomes_a_502(bench):
    bench.site.pages["/"] = [b"SSH-2.0-OpenSSH\r\n\r\n"]
    got = await bench.get("www.plant.example", "/")
    assert got.startswith(b"HTTP/1.1 502 bad-answer\r\n")


async def test_more_connections_than_it_takes_are_told_to_come_again(bench):
    writers = []
    for _ in range(CONNECTIONS):
        _, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writers.append(writer)
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    assert (await reader.read()).startswith(b"HTTP/1.1 503 busy")
    for one in [*writers, writer]:
        one.transport.abort()
    async with asyncio.timeout(60):
        while not (await bench.get("www.plant.example")).startswith(b"HTTP/1.1 200"):
            await asyncio.sleep(0.01)


async def test_the_owner_opens_a_private_address_by_its_name_only():
    async with proxied(domains=["www.plant.example", "www.other.example"]) as bench:
        assert (await bench.get("www.plant.example")).startswith(b"HTTP/1.1 200")
        assert (await bench.get("www.other.example")).startswith(b"HTTP/1.1 403 address-not-allowed")


async def test_an_address_is_reached_when_it_is_listed_and_allowed():
    async with proxied(domains=["127.0.0.1"], allow=["127.0.0.0/8"]) as bench:
        assert (await bench.get("127.0.0.1")).startswith(b"HTTP/1.1 200")
