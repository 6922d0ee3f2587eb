"""The doctor beside a hub that runs, and before a broker of one's own: it looks and disturbs nobody."""

import asyncio
import contextlib
import socket

import pytest

from hub.broker.mosquitto import find_binary
from hub.config import HubConfig
from hub.doctor import broker, examine, outside_broker
from hub.doctor.subject import Subject
from tests.support.broker import bench as bench  # noqa: PLC0414  a fixture
from tests.support.hub_process import HubProcess
from tests.support.scenario import until


@pytest.fixture
async def hub(tmp_path):
    async with HubProcess(tmp_path / "hub") as running:
        yield running


async def test_a_hub_that_runs_is_well_and_its_ports_are_its_own(hub):
    port = int(hub.url.rpartition(":")[2])
    findings = {one.name: one for one in await examine(Subject(HubConfig(data_dir=hub.folder, api_port=port)))}
    assert {one.name for one in findings.values() if one.verdict == "fail"} == set()
    assert f"127.0.0.1:{port} is this hub's" in findings["ports"].message
    assert "answers on port" in findings["broker"].message
    assert await hub.get("nodes")  # and it goes on


async def test_a_broker_that_does_not_live_beside_a_hub_that_does_is_a_failure(hub):
    (hub.folder / "broker/pid").write_text("1 1 never\n")
    told = await broker.check(Subject(HubConfig(data_dir=hub.folder)))
    assert (told.verdict, told.message) == ("fail", "the hub runs, and its broker does not")


async def test_a_broker_that_was_told_otherwise_is_a_failure(hub):
    conf = hub.folder / "broker/mosquitto.conf"
    conf.write_text(conf.read_text().replace("persistence true", "persistence false"))
    told = await broker.check(Subject(HubConfig(data_dir=hub.folder)))
    assert (told.verdict, "persistence true" in told.message) == ("fail", True)


def outside(bench, tmp_path, **changes):
    own = bench.issue(bench.hub_id)
    settings = {
        "data_dir": tmp_path / "other",
        "brokers": [f"127.0.0.1:{bench.port}"],
        "hub_id": bench.hub_id,
        "broker_ca": str(bench.pki.ca_path),
        "broker_cert": str(own.certificate),
        "broker_key": str(own.key),
    }
    return Subject(HubConfig(**{**settings, **changes}))


async def test_a_broker_of_ones_own_is_asked_what_it_takes_and_refuses(bench, tmp_path):
    told = await outside_broker.check(outside(bench, tmp_path))
    assert told.verdict == "pass", told
    assert "takes packets of 262144 bytes" in told.message


@contextlib.asynccontextmanager
async def another(bench, folder, acl, packet):
    """A second broker with the same certificates, another access list and another cap on packets; its port."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "acl").write_text(acl)
    conf = (bench.folder / "broker/mosquitto.conf").read_text().replace(f"listener {bench.port} ", f"listener {port} ")
    conf = conf.replace(f"{bench.folder}/broker", str(folder)).replace("max_packet_size 262144", packet)
    (folder / "mosquitto.conf").write_text(conf)
    (folder / "acl").chmod(0o600)
    child = await asyncio.create_subprocess_exec(
        find_binary(None), "-c", str(folder / "mosquitto.conf"), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        context = bench.context(bench.hub_id)

        async def answers():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                writer.transport.abort()
                return True

        await until(answers)
        yield port
    finally:
        child.terminate()
        await child.wait()


async def test_a_broker_that_lets_everybody_write_everything_is_a_failure(bench, tmp_path):
    async with another(bench, tmp_path / "b", f"user {bench.hub_id}\ntopic readwrite #\n", "") as port:
        told = await outside_broker.check(outside(bench, tmp_path, brokers=[f"127.0.0.1:{port}"]))
    assert (told.verdict, "what only a node may" in told.message) == ("fail", True), told


async def test_a_broker_that_takes_small_packets_only_is_a_failure(bench, tmp_path):
    acl = (bench.folder / "broker/acl").read_text()
    async with another(bench, tmp_path / "b", acl, "max_packet_size 20000") as port:
        told = await outside_broker.check(outside(bench, tmp_path, brokers=[f"127.0.0.1:{port}"]))
    assert (told.verdict, "takes 20000 bytes" in told.message) == ("fail", True), told


async def test_one_that_does_not_answer_or_trusts_another_ca_is_a_failure(bench, tmp_path):
    told = await outside_broker.check(outside(bench, tmp_path, brokers=["127.0.0.1:1"]))
    assert (told.verdict, "127.0.0.1:1" in told.message) == ("fail", True)
    strange = bench.issue("n-0a0a0a0a-0000-4000-8000-00000000000a")
    names = {"broker_cert": str(strange.certificate), "broker_key": str(strange.key)}
    told = await outside_broker.check(outside(bench, tmp_path, **names))
    assert (told.verdict, told.remedy != "") == ("fail", True)
