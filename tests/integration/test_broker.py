"""The managed broker lets in only the fleet, and comes back from whatever happens to it or to the hub."""

import asyncio
import json
import logging
import os
import signal
import ssl
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from hub import launch
from hub.broker.managed import ManagedBroker
from hub.broker.mosquitto import ASIDE, STORE, BrokerSettings, find_binary
from hub.pki import Credentials, Pki
from tests.support.broker import HUB, BrokerBench, bench, broker_bench, client_context, issue
from tests.support.mqtt import PlainClient
from wire.failures import Conflict, InvalidRequest, Unavailable

__all__ = ["bench"]
ROOT = Path(__file__).parents[2]
NODE = "n-0a0a0a0a-0000-4000-8000-00000000000a"


async def let_in(port: int, context: ssl.SSLContext | None, user: str = "") -> bool:
    """Whether the broker answers an MQTT CONNECT with success."""
    body = b"\x00\x04MQTT\x05" + (b"\x82" if user else b"\x02") + struct.pack("!HB", 30, 0) + b"\x00\x02me"
    body += struct.pack("!H", len(user)) + user.encode() if user else b""
    try:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost" if context else None
            )
            writer.write(bytes([0x10, len(body)]) + body)
            answer = await reader.read(4)
            writer.transport.abort()
    except (OSError, ssl.SSLError):
        return False
    return len(answer) == 4 and answer[0] == 0x20 and answer[3] == 0


async def test_a_node_of_the_fleet_is_let_in(bench: BrokerBench):
    assert await let_in(bench.port, bench.context(NODE))


async def test_without_tls_or_without_a_certificate_nobody_is_let_in(bench: BrokerBench):
    assert not await let_in(bench.port, None)
    assert not await let_in(bench.port, client_context(bench.pki, None))
    assert not await let_in(bench.port, client_context(bench.pki, None), user=HUB)


async def test_a_certificate_of_another_ca_is_refused(bench: BrokerBench, tmp_path: Path):
    foreign = Pki(tmp_path / "foreign")
    assert not await let_in(bench.port, client_context(bench.pki, issue(foreign, tmp_path, NODE)))


async def test_the_servers_own_certificate_is_no_key_to_the_broker(bench: BrokerBench):
    assert not await let_in(bench.port, client_context(bench.pki, bench.pki.server("broker", ())))


async def test_an_expired_certificate_is_refused(bench: BrokerBench, tmp_path: Path):
    past = Pki(tmp_path / "pki", now=lambda: time.time() - 60 * 86_400)  # noqa: TID251
    assert not await let_in(bench.port, client_context(bench.pki, issue(past, tmp_path, NODE)))


async def test_tls_below_1_2_is_refused_and_1_3_is_spoken_by_default(bench: BrokerBench):
    modern = bench.context(NODE)
    _, writer = await asyncio.open_connection("127.0.0.1", bench.port, ssl=modern, server_hostname="localhost")
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    writer.transport.abort()
    old = bench.context(NODE)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    assert not await let_in(bench.port, old)


async def test_a_broker_of_another_fleet_is_not_believed(bench: BrokerBench, tmp_path: Path):
    foreign = Pki(tmp_path / "foreign")
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(
            "127.0.0.1", bench.port, ssl=client_context(foreign, None), server_hostname="localhost"
        )


async def test_after_kill_9_it_comes_back_on_the_same_port(bench: BrokerBench):
    before = bench.broker.pid
    await bench.broker.kill9()
    async with asyncio.timeout(60):
        await bench.broker.running()
    assert bench.broker.pid not in {None, before}
    assert bench.broker.restarts == 1
    assert await let_in(bench.port, bench.context(NODE))


async def test_an_orderly_stop_keeps_retained_messages_and_port(tmp_path: Path):
    topic = f"tender/1/n/{NODE}/state"
    async with broker_bench(tmp_path) as first, PlainClient(first.port, first.context(NODE), NODE) as node:
        await node.code_of(topic, b"kept", retain=True)
    async with broker_bench(tmp_path) as second, PlainClient(second.port, second.context(NODE), NODE) as node:
        assert second.port == first.port
        await node.subscribe(topic, qos=1)
        await node.publish(topic, b"end", qos=1)
        assert await node.until(b"end") == [(topic, b"kept")]


@pytest.mark.parametrize("rubbish", [b"\x00" * 8192, os.urandom(4096), b""], ids=["zeroes", "noise", "empty"])
async def test_a_corrupt_store_is_moved_aside_and_said(
    tmp_path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture
):
    store = tmp_path / "broker" / STORE
    store.parent.mkdir(parents=True)
    store.write_bytes(rubbish)
    with caplog.at_level(logging.WARNING):
        async with broker_bench(tmp_path) as bench:
            assert await let_in(bench.port, bench.context(NODE))
    if rubbish:  # mosquitto takes an empty file for an empty store
        assert store.with_name(ASIDE).read_bytes() == rubbish
        assert "did not start with its store" in caplog.text


async def test_a_store_that_goes_bad_while_it_runs_is_survived(bench: BrokerBench):
    await bench.broker.kill9()
    (bench.folder / "broker" / STORE).write_bytes(b"\x00" * 8192)
    async with asyncio.timeout(60):
        await bench.broker.running()
    assert await let_in(bench.port, bench.context(NODE))


async def test_a_second_hub_in_the_same_folder_is_refused_and_harms_nobody(bench: BrokerBench):
    settings = BrokerSettings(folder=bench.folder / "broker", hub_id=HUB)
    with pytest.raises(Conflict, match="another hub"):
        async with ManagedBroker(settings, bench.pki):
            raise AssertionError("it must not start")
    assert await let_in(bench.port, bench.context(NODE))


async def test_a_port_that_is_taken_is_a_clear_error(bench: BrokerBench, tmp_path: Path):
    settings = BrokerSettings(folder=tmp_path / "other", hub_id=HUB, port=bench.port)
    with pytest.raises(Unavailable, match=f"port {bench.port}"):
        async with ManagedBroker(settings, Pki(tmp_path / "other-pki")):
            raise AssertionError("it must not start")
    assert await let_in(bench.port, bench.context(NODE))


async def test_a_hub_id_that_looks_like_a_node_is_refused(tmp_path: Path):
    settings = BrokerSettings(folder=tmp_path, hub_id=NODE)
    with pytest.raises(InvalidRequest, match="node id"):
        async with ManagedBroker(settings, Pki(tmp_path / "pki")):
            raise AssertionError("it must not start")


HUB_PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from tests.support.broker import broker_bench
async def main():
    async with broker_bench(Path(sys.argv[1])) as bench:
        print(json.dumps([bench.port, bench.broker.pid]), flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_hub_that_was_killed_starts_again_at_once_with_the_same_port(tmp_path: Path):
    hub = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HUB_PROGRAM, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert hub.stdout
    async with asyncio.timeout(60):
        port, old = json.loads(await hub.stdout.readline())
    ended = watch(old)
    hub.kill()
    await hub.wait()
    async with broker_bench(tmp_path) as bench:
        assert bench.port == port
        assert bench.broker.pid != old
        assert await let_in(bench.port, bench.context(NODE))
        async with asyncio.timeout(60):
            await ended()


async def test_a_broker_does_not_outlive_its_hub(tmp_path: Path):
    hub = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HUB_PROGRAM, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert hub.stdout
    async with asyncio.timeout(60):
        _, broker = json.loads(await hub.stdout.readline())
    ended = watch(broker)
    hub.kill()
    await hub.wait()
    async with asyncio.timeout(60):
        await ended()


async def test_a_broker_left_behind_is_replaced(tmp_path: Path):
    async with broker_bench(tmp_path):
        pass
    folder = tmp_path / "broker"
    argv = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(folder / "pid")]
    with subprocess.Popen([*argv, find_binary(None), "-c", str(folder / "mosquitto.conf")]) as left:  # noqa: ASYNC220
        port = int((folder / "port").read_text())
        pki = Pki(tmp_path / "pki")
        context = client_context(pki, issue(pki, tmp_path, NODE))
        async with asyncio.timeout(60):
            while not await let_in(port, context):
                await asyncio.sleep(0.02)
        async with broker_bench(tmp_path) as bench:
            assert left.wait(30) == 0
            assert bench.port == port


@pytest.mark.parametrize("line", ["{pid} 1 {boot}", "{pid} {start} another-boot", "rubbish", ""])
async def test_a_process_that_merely_has_the_id_is_left_alone(tmp_path: Path, line: str):
    (tmp_path / "broker").mkdir()
    with subprocess.Popen(["/bin/sleep", "600"]) as innocent:  # noqa: ASYNC220
        start, boot = start_and_boot(innocent.pid)
        (tmp_path / "broker/pid").write_text(line.format(pid=innocent.pid, start=start, boot=boot))
        async with broker_bench(tmp_path):
            assert innocent.poll() is None
        innocent.send_signal(signal.SIGKILL)


def test_credentials_of_the_broker_are_for_the_owner_only(tmp_path: Path):
    made: Credentials = Pki(tmp_path).server("broker", ("box.example", "10.0.0.1"))
    assert made.key.stat().st_mode & 0o777 == 0o600


def start_and_boot(pid: int) -> tuple[str, str]:
    start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return start, Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def watch(pid: int) -> "Callable[[], asyncio.Future[None]]":
    """Hold on to a process now; the result waits for its end, whether somebody reaps it or not."""
    handle, loop = os.pidfd_open(pid), asyncio.get_running_loop()
    over = loop.create_future()

    def done() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        over.set_result(None)

    loop.add_reader(handle, done)
    return lambda: over
