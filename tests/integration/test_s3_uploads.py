"""S3 uploads on a real server when things go wrong: kills, lost links, wrong keys, missing buckets."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from agent.files.transfer import Transfers
from agent.inputs.archive import unpack
from agent.publishers.s3 import S3Publisher, object_key
from tests.support.results import NAMES, files, make_result, unpacked
from tests.support.s3 import S3Server, s3_fixture  # noqa: F401
from tests.support.web import Link, answer, link_to, web_server
from wire.failures import ExecutionFailed, Reason

MIB = 1024 * 1024
SIZE = 28 * MIB
PART = 8 * MIB

Make = Callable[..., S3Publisher]


@pytest_asyncio.fixture(name="transfers")
async def transfers_fixture() -> AsyncIterator[Transfers]:
    transfers = Transfers(environ={})
    yield transfers
    await transfers.close()


@pytest_asyncio.fixture(name="link")
async def link_fixture(s3: S3Server) -> AsyncIterator[Link]:
    async with link_to(int(s3.url.rpartition(":")[2])) as link:
        yield link


@pytest.fixture(name="make")
def make_fixture(s3: S3Server, transfers: Transfers, tmp_path: Path) -> Make:
    def make(**changes: object) -> S3Publisher:
        keys = s3.credentials(tmp_path / "keys")
        return S3Publisher(**({"transfers": transfers, "credentials": keys, "allow": ["127.0.0.1"]} | changes))

    return make


def params(endpoint: str, **changes: str) -> dict[str, object]:
    return {"Bucket": "results", "Key": "r.tar.gz", "Endpoint": endpoint} | changes


async def refused(publisher: S3Publisher, wanted: dict[str, object], results: Path) -> Reason:
    with pytest.raises(ExecutionFailed) as caught:
        await publisher.publish(wanted, results, NAMES)
    return caught.value.reason


def object_is_whole(s3: S3Server, results: Path, into: Path) -> bool:
    into.mkdir()
    with (s3.data / "results" / "r.tar.gz").open("rb") as archive:
        unpack(archive, into)
    return (into / "manifest-e-1.json").exists() and unpacked(into) == files(results)


async def cut(publisher: S3Publisher, link: Link, transfers: Transfers, results: Path) -> Reason:
    """Kill the child when the link holds in the middle of part 3; returns why the publisher gave up."""
    link.hold_after(2 * PART + PART // 2)
    attempt = asyncio.create_task(refused(publisher, params(f"http://127.0.0.1:{link.port}"), results))
    async with asyncio.timeout(60):
        await link.held.wait()
        [pid] = transfers.pids()
        os.kill(pid, signal.SIGKILL)
        reason = await attempt
    link.release()
    return reason


async def test_a_killed_upload_goes_on_at_the_part(s3, make, link, transfers, tmp_path):
    results = make_result(tmp_path / "x", SIZE)
    reason = await cut(make(), link, transfers, results)
    assert reason.code == "transfer-died"
    assert reason.retryable
    await make().publish(params(f"http://127.0.0.1:{link.port}"), results, NAMES)
    assert link.sent < SIZE + PART + MIB  # one part went twice, no more
    assert object_is_whole(s3, results, tmp_path / "got")
    assert not list((tmp_path / "x" / "publish").glob("upload-*"))
    assert not list((tmp_path / "x" / "publish").glob("*.tar.gz*"))


async def test_an_upload_that_the_server_forgot_begins_again(s3, make, link, transfers, tmp_path):
    results = make_result(tmp_path / "x", SIZE)
    await cut(make(), link, transfers, results)
    await s3.stop()
    await s3.start()
    await make().publish(params(f"http://127.0.0.1:{link.port}"), results, NAMES)
    assert object_is_whole(s3, results, tmp_path / "got")


async def test_a_success_whose_answer_was_lost_is_found_and_not_sent_again(make, link, tmp_path):
    results = make_result(tmp_path / "x", SIZE)
    endpoint = f"http://127.0.0.1:{link.port}"
    first = await make().publish(params(endpoint), results, NAMES)
    for left in (tmp_path / "x" / "publish").iterdir():
        left.unlink()
    before = link.sent
    assert await make().publish(params(endpoint), results, NAMES) == first
    assert link.sent - before < MIB


async def test_an_object_that_somebody_overwrote_is_sent_again(s3, make, tmp_path):
    results = make_result(tmp_path / "x")
    first = await make().publish(params(s3.url), results, NAMES)
    await asyncio.to_thread(s3.client().put_object, Bucket="results", Key="r.tar.gz", Body=b"other")
    assert await make().publish(params(s3.url), results, NAMES) == first
    assert object_is_whole(s3, results, tmp_path / "got")


async def test_a_stalled_upload_is_ended_with_its_process(make, link, transfers, tmp_path):
    results = make_result(tmp_path / "x", SIZE)
    link.hold_after(PART)
    reason = await refused(make(stall=3.0), params(f"http://127.0.0.1:{link.port}"), results)
    assert (reason.code, reason.retryable) == ("transfer-stalled", True)
    assert transfers.pids() == []


async def test_a_wrong_secret_is_not_worth_trying_again(s3, make, tmp_path):
    results = make_result(tmp_path / "x")
    keys = s3.credentials(tmp_path / "wrong", secret="not the secret of this server")
    reason = await refused(make(credentials=keys), params(s3.url), results)
    assert (reason.code, reason.retryable) == ("s3-access", False)


async def test_without_keys_nothing_is_asked(s3, make, tmp_path):
    results = make_result(tmp_path / "x")
    assert (await refused(make(credentials=None), params(s3.url), results)).code == "s3-access"
    [reason] = await make(credentials=tmp_path / "missing").refusals(params(s3.url))
    assert reason.code == "s3-access"
    (tmp_path / "no-profile").write_text("[other]\n")
    assert (await refused(make(credentials=tmp_path / "no-profile"), params(s3.url), results)).code == "s3-access"


async def test_keys_may_come_from_the_environment(s3, make, tmp_path):
    results = make_result(tmp_path / "x")
    transfers = Transfers(environ={"AWS_ACCESS_KEY_ID": s3.key, "AWS_SECRET_ACCESS_KEY": s3.secret})
    try:
        await make(credentials=None, transfers=transfers).publish(params(s3.url), results, NAMES)
    finally:
        await transfers.close()
    assert object_is_whole(s3, results, tmp_path / "got")


async def test_a_missing_bucket_is_named(s3, make, tmp_path):
    reason = await refused(make(), params(s3.url, Bucket="nowhere"), make_result(tmp_path / "x"))
    assert (reason.code, reason.retryable) == ("s3-no-bucket", False)
    assert "nowhere" in reason.message


async def test_a_server_that_is_away_or_overloaded_is_tried_again_later(s3, make, tmp_path):
    results = make_result(tmp_path / "x")
    await s3.stop()
    assert (await refused(make(), params(s3.url), results)).code == "s3-unavailable"
    async with web_server() as busy:
        busy.pages["*"] = [answer("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>")]
        reason = await refused(make(), params(busy.url), results)
    assert (reason.code, reason.retryable) == ("s3-unavailable", True)
    await s3.start()
    await make().publish(params(s3.url), results, NAMES)


async def test_an_endpoint_that_the_owner_does_not_list_is_not_spoken_to(s3, make, tmp_path):
    results = make_result(tmp_path / "x")
    port = s3.url.rpartition(":")[2]
    publisher = make(allow=[])
    [reason] = await publisher.refusals(params(s3.url))
    assert reason.code == "address-not-allowed"
    assert (await refused(publisher, params(f"http://localhost:{port}"), results)).code == "address-not-allowed"
    assert (await refused(publisher, params(f"http://2130706433:{port}"), results)).code == "address-not-allowed"


@pytest.mark.parametrize(
    "changes",
    [
        {"Bucket": ""},
        {"Key": ""},
        {"Key": "a\nb"},
        {"Encoding": "zip"},
        {"Endpoint": "ftp://x"},
        {"Endpoint": "http://u:p@x"},
        {"Endpoint": "http://[::1"},
        {"Nonsense": "1"},
    ],
)
async def test_parameters_that_cannot_be_meant_are_refused_before_a_bid(make, changes):
    [reason] = await make().refusals(params("https://s3.example", **changes))
    assert reason.code == "bad-params"


def test_placeholders_and_endings_of_keys_are_as_in_bacalhau():
    assert object_key("a/{jobID}/", "gzip", NAMES) == "a/j-1/e-1.tar.gz"
    assert object_key("a/{executionID}", "gzip", NAMES) == "a/e-1.tar.gz"
    assert object_key("{nodeID}/{date}-{time}.tar.gz", "gzip", NAMES) == "n-1/20260102-030405.tar.gz"
    assert object_key("a", "plain", NAMES) == "a/"
    assert object_key("/{unknown}/", "plain", NAMES) == "{unknown}/"


async def test_the_secret_is_in_no_argument_environment_order_or_state(s3, make, link, transfers, tmp_path):
    results = make_result(tmp_path / "x", SIZE)
    link.hold_after(PART)
    attempt = asyncio.create_task(refused(make(), params(f"http://127.0.0.1:{link.port}"), results))
    async with asyncio.timeout(60):
        await link.held.wait()
        [pid] = transfers.pids()
        seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        os.kill(pid, signal.SIGKILL)
        seen += (await attempt).message.encode()
    seen += b"".join(path.read_bytes() for path in (tmp_path / "x" / "publish").glob("*.json"))
    assert s3.secret.encode() not in seen
    assert s3.key.encode() not in seen


async def test_an_upload_keeps_to_its_rate(s3, make, tmp_path):
    results = make_result(tmp_path / "x", 3 * MIB)
    began = time.monotonic()
    await make(rate=lambda: MIB).publish(params(s3.url), results, NAMES)
    assert time.monotonic() - began > 2
    assert object_is_whole(s3, results, tmp_path / "got")


async def test_an_upload_in_parts_keeps_to_its_rate_as_well(s3, make, tmp_path):
    results = make_result(tmp_path / "x", 10 * MIB)
    began = time.monotonic()
    await make(rate=lambda: 5 * MIB).publish(params(s3.url), results, NAMES)
    assert time.monotonic() - began > 1.5
    assert object_is_whole(s3, results, tmp_path / "got")
