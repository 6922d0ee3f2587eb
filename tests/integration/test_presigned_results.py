"""Results in buckets: a client without keys fetches them by an address that the hub signs, and no others."""

import io
import tarfile

import httpx
import pytest

from tests.support.hub_bench import until
from tests.support.hub_process import wasm_job
from tests.support.s3 import S3Server, s3_fixture  # noqa: F401
from wire import messages as m
from wire.states import ExecutionState


@pytest.fixture
def no_keys(monkeypatch, tmp_path):
    """Nothing that a key could come from."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def keys(monkeypatch, no_keys):
    def use(key="A" * 20, secret="s" * 40):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)

    return use


async def completed(bench, told, **params):
    """A job whose result the node says it published as `told`; gives its result as the API shows it."""
    node = await bench.node("north", publishers=["local", "s3"])
    node.script = (ExecutionState.ACCEPTED, ExecutionState.RUNNING)
    values = {"Bucket": "results", "Key": "r/{executionID}.tar.gz", "Endpoint": "http://127.0.0.1:9", **params}
    task = {**wasm_job()["Tasks"][0], "Publisher": {"Type": "s3", "Params": values}}
    job_id = await bench.submit(wasm_job(Tasks=[task]))
    order = await until(lambda: node.orders[-1] if node.orders else None)
    place = {name: value.replace("{executionID}", order.execution_id) for name, value in {**values, **told}.items()}
    result = m.ResultRef("00" * 32, 1, 1, "s3", params=place)
    await node.report(order.execution_id, ExecutionState.COMPLETED, result=result)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    (item,) = (await bench.get(f"jobs/{job_id}/results"))["Items"]
    return item


async def test_a_client_without_keys_downloads_the_archive(bench, keys, s3: S3Server):
    client = s3.client()
    keys(s3.key, s3.secret)
    item = await completed(bench, {}, Endpoint=s3.url)
    key = item["Params"]["SourceSpec"]["Key"]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("stdout"))
    client.put_object(Bucket="results", Key=key, Body=packed.getvalue())
    assert item["Type"] == "s3PreSigned"
    assert httpx.URL(item["Params"]["PreSignedURL"]).path.endswith(".tar.gz")
    bare = item["Params"]["PreSignedURL"].partition("?")[0]
    async with httpx.AsyncClient() as plain:
        answer = await plain.get(item["Params"]["PreSignedURL"])
        assert answer.content == packed.getvalue(), (answer.text, item)
        assert (await plain.get(bare)).status_code in {400, 403}


async def test_without_keys_the_place_is_told_as_it_is(bench, no_keys):
    item = await completed(bench, {})
    assert item["Type"] == "s3"
    assert item["Params"]["Bucket"] == "results"


@pytest.mark.parametrize(
    "told",
    [{"Bucket": "other"}, {"Key": "secrets.tar.gz"}, {"Key": "r/e-1.tar.gz"}, {"Endpoint": "http://127.0.0.1:8"}],
)
async def test_what_the_job_did_not_ask_for_is_never_signed(bench, keys, told):
    keys()
    assert (await completed(bench, told))["Type"] == "s3"


async def test_a_result_in_many_objects_is_told_as_it_is(bench, keys):
    keys()
    assert (await completed(bench, {}, Encoding="plain"))["Type"] == "s3"
