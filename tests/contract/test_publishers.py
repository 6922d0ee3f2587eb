"""What every publisher promises: all bytes are there, a repeat changes nothing, damage is refused."""

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from agent.files.transfer import Transfers
from agent.inputs.archive import unpack
from agent.publishers.base import Location, Publisher
from agent.publishers.local import LocalPublisher, open_blob
from agent.publishers.s3 import S3Publisher
from tests.support.results import NAMES, files, make_result, unpacked
from tests.support.s3 import S3Server, s3_fixture  # noqa: F401
from wire.failures import ExecutionFailed
from wire.files import manifest


class Bench(msgspec.Struct):
    """A publisher, its parameters, and how a client gets the files back from a location."""

    publisher: Publisher
    params: dict[str, object]
    fetch: Callable[[Location, Path], dict[str, bytes]]


@pytest_asyncio.fixture(name="transfers")
async def transfers_fixture() -> AsyncIterator[Transfers]:
    transfers = Transfers(environ={})
    yield transfers
    await transfers.close()


def local_bench() -> Bench:
    def fetch(location: Location, results: Path) -> dict[str, bytes]:
        found = open_blob(results, location.params["manifest"])
        assert found is not None
        stored = found.read_bytes()
        got = {"manifest.json": stored}
        for file in manifest.decode(stored).files:
            path = open_blob(results, file.sha256)
            assert path is not None
            got[file.path] = path.read_bytes()
        return got

    return Bench(LocalPublisher(), {}, fetch)


def s3_bench(s3: S3Server, publisher: S3Publisher, encoding: str) -> Bench:
    def fetch(location: Location, results: Path) -> dict[str, bytes]:
        into = results.parent / "fetched"
        into.mkdir()
        bucket, key = location.params["Bucket"], location.params["Key"]
        client = s3.client()
        if encoding == "gzip":
            unpack(io.BytesIO(client.get_object(Bucket=bucket, Key=key)["Body"].read()), into)
            assert (into / "empty").is_dir()
            return unpacked(into)
        listed = client.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
        return {
            found["Key"].removeprefix(key): client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
            for found in listed
        }

    params: dict[str, object] = {"Bucket": "results", "Key": "{jobID}/{executionID}", "Endpoint": s3.url}
    return Bench(publisher, params | {"Encoding": encoding}, fetch)


@pytest.fixture(name="bench", params=["local", "s3 gzip", "s3 plain"])
def bench_fixture(request, tmp_path: Path) -> Bench:
    if request.param == "local":
        return local_bench()
    s3: S3Server = request.getfixturevalue("s3")
    keys = s3.credentials(tmp_path / "keys")
    publisher = S3Publisher(transfers=request.getfixturevalue("transfers"), credentials=keys, allow=["127.0.0.1"])
    return s3_bench(s3, publisher, request.param.split()[1])


@pytest.mark.parametrize("size", [0, 1000, 20_000_000])
async def test_a_client_gets_every_byte_back(bench, tmp_path, size):
    results = make_result(tmp_path / "x", size)
    assert await bench.publisher.refusals(bench.params) == []
    location = await bench.publisher.publish(bench.params, results, NAMES)
    assert location.type == bench.publisher.name
    assert location.params["manifest"] == manifest.load(results).identity
    assert bench.fetch(location, results) == files(results)


async def test_a_repeat_gives_the_same_location_whatever_the_clock_says_by_then(bench, tmp_path):
    results = make_result(tmp_path / "x")
    params = bench.params | ({"Key": "{date}/{time}/r"} if bench.params else {})
    first = await bench.publisher.publish(params, results, NAMES)
    assert await bench.publisher.publish(params, results, NAMES | {"time": "235959"}) == first


async def test_the_same_result_elsewhere_has_the_same_hashes(bench, tmp_path):
    one = make_result(tmp_path / "x")
    two = tmp_path / "y" / "results"
    two.mkdir(parents=True)
    (two / "empty").mkdir()
    for path, data in files(one).items():
        (two / path).parent.mkdir(parents=True, exist_ok=True)
        (two / path).write_bytes(data)
    first = await bench.publisher.publish(bench.params, one, NAMES)
    assert await bench.publisher.publish(bench.params, two, NAMES) == first


async def test_a_result_that_changed_after_it_was_sealed_is_refused(bench, tmp_path):
    results = make_result(tmp_path / "x")
    (results / "stdout").write_bytes(b"hello, changed\n")
    with pytest.raises(ExecutionFailed) as caught:
        await bench.publisher.publish(bench.params, results, NAMES)
    assert caught.value.reason.code == "result-damaged"
    assert not caught.value.reason.retryable


async def test_a_link_put_in_place_of_a_sealed_file_is_not_followed(bench, tmp_path):
    results = make_result(tmp_path / "x")
    (tmp_path / "host-secret").write_bytes(b"secre\n")
    (results / "stdout").unlink()
    (results / "stdout").symlink_to(tmp_path / "host-secret")
    with pytest.raises(ExecutionFailed) as caught:
        await bench.publisher.publish(bench.params, results, NAMES)
    assert caught.value.reason.code in {"result-damaged", "output-symlink"}


async def test_a_folder_without_a_manifest_is_refused(bench, tmp_path):
    results = make_result(tmp_path / "x")
    (results / "manifest.json").unlink()
    with pytest.raises(ExecutionFailed) as caught:
        await bench.publisher.publish(bench.params, results, NAMES)
    assert caught.value.reason.code == "result-damaged"


def test_only_what_the_manifest_lists_is_served(tmp_path):
    results = make_result(tmp_path / "x")
    assert open_blob(results, "0" * 64) is None
    assert open_blob(results, "../results/stdout") is None
    assert open_blob(tmp_path, "0" * 64) is None
    (results / "stdout").rename(results / "moved")
    (results / "stdout").symlink_to(results / "moved")
    stdout = next(file for file in manifest.load(results).files if file.path == "stdout")
    assert open_blob(results, stdout.sha256) is None
