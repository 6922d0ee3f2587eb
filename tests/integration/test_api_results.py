"""Results over the API: fetched from their nodes, served only when they are what the node signed, said when not."""

import asyncio
import hashlib
import io
import os
import tarfile

import msgspec
import pytest

from tests.support.hub_process import wasm_job
from wire import messages as m
from wire.files import manifest as manifests
from wire.states import ExecutionState, NodeState
from wire.topics import Channel

FILES = {"stdout": b"hello\n", "exitCode": b"0", "stderr": b"", "out/big.bin": os.urandom(200_000)}


async def completed(bench, node):
    """The execution of a job that has completed on a node."""
    job_id = await bench.submit(wasm_job(Tasks=[{**wasm_job()["Tasks"][0], "Publisher": {"Type": "local"}}]))
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    return job_id, node.orders[-1].execution_id


def url(x):
    return f"results/{x}.tar.gz"


async def refused(bench, x, status):
    answer = await bench.call("GET", url(x))
    assert answer.status_code == status, answer.text
    assert not list((bench.config.data_dir / "results").iterdir())
    return answer.json()


async def test_a_result_comes_whole_and_only_once_from_its_node(bench):
    node = await bench.node("north")
    node.keeps(FILES)
    job_id, x = await completed(bench, node)
    (item,) = (await bench.get(f"jobs/{job_id}/results"))["Items"]
    assert item == {"Type": "urlDownload", "Params": {"URL": f"http://127.0.0.1:1234/api/v1/orchestrator/{url(x)}"}}
    answers = await asyncio.gather(*(bench.call("GET", url(x)) for _ in range(3)))
    node.files.clear()
    answers.append(await bench.call("GET", url(x)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    with tarfile.open(fileobj=io.BytesIO(answers[0].content)) as archive:
        found = {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}
        assert "out" in archive.getnames()
    assert manifests.decode(found.pop(f"manifest-{x}.json")).files[0].path == "exitCode"
    assert found == FILES


@pytest.mark.parametrize("bent", [b"HELLO\n", b"hello", b"", b"hello\n" * 3])
async def test_a_file_that_was_changed_on_the_node_is_refused_and_said(bench, bent):
    node = await bench.node("north")
    node.keeps(FILES)
    _, x = await completed(bench, node)
    for sha256, data in node.files.items():
        if data == b"hello\n":
            node.files[sha256] = bent
    body = await refused(bench, x, 502)
    assert body["Code"] == "Untrusted"
    assert "run the job again" in body["Hint"]


async def test_a_result_that_is_gone_from_its_node_is_said(bench):
    node = await bench.node("north")
    node.keeps(FILES)
    _, x = await completed(bench, node)
    node.files.clear()
    assert "no such file is kept" in (await refused(bench, x, 404))["Message"]


@pytest.mark.parametrize("state", [NodeState.OFFLINE, NodeState.SLEEPING])
async def test_a_node_that_is_away_is_said_at_once(bench, state):
    node = await bench.node("north")
    node.keeps(FILES)
    _, x = await completed(bench, node)
    await node.say(Channel.STATE, m.NodeStatus(ep=1, state=state))
    async with asyncio.timeout(60):
        body = await refused(bench, x, 503)
    assert body["Message"] == f"node north ({node.id}) keeps the result and is {state}"
    assert "tender node list" in body["Hint"]


async def test_the_result_of_a_node_that_left_the_fleet_is_said_to_be_gone(bench):
    node = await bench.node("north")
    node.keeps(FILES)
    _, x = await completed(bench, node)
    await bench.call("PUT", f"nodes/{node.id}", json={"Action": "delete"})
    assert "not part of the fleet any more" in (await refused(bench, x, 404))["Message"]


@pytest.mark.parametrize("signature", ["", "00" * 64, "no hex"])
async def test_a_manifest_without_the_signature_of_its_node_is_refused(bench, signature):
    node = await bench.node("north")
    node.keeps(FILES, signature=signature)
    _, x = await completed(bench, node)
    assert "is not signed by node" in (await refused(bench, x, 502))["Message"]


@pytest.mark.parametrize("path", ["../../etc/cron.d/x", "/etc/passwd", "a\x1b[2J", "manifest.json", "a//b", "x" * 300])
async def test_a_path_that_leads_elsewhere_is_refused(bench, path):
    node = await bench.node("north")
    node.keeps({path: b"x"})
    _, x = await completed(bench, node)
    assert "is refused" in (await refused(bench, x, 502))["Message"]


async def test_a_file_that_is_also_a_folder_is_refused(bench):
    node = await bench.node("north")
    node.keeps({"a": b"x", "a/b": b"y"})
    _, x = await completed(bench, node)
    assert "as a file and as a folder" in (await refused(bench, x, 502))["Message"]


async def test_a_result_over_the_cap_is_refused_before_it_is_fetched(bench):
    node = await bench.node("north")
    node.keeps({})
    files = tuple(manifests.File(f"f{n}", 2 * 1024**3, "0" * 64) for n in range(5))
    body = manifests.encode(manifests.Manifest(files=files))
    name = hashlib.sha256(body).hexdigest()
    node.files[name] = body
    node.result = m.ResultRef(name, 5, 0, "local", signature=node.signer.sign(body).hex())
    _, x = await completed(bench, node)
    assert "over the cap" in (await refused(bench, x, 413))["Message"]


async def test_nobody_can_slip_chunks_into_the_result_of_another(bench):
    node, other = await bench.node("north"), await bench.node("south")
    other.on_invite = other.decline
    node.keeps(FILES)
    _, x = await completed(bench, node)
    serve = node.hear

    async def hear(address, message):
        if isinstance(message, m.Command) and message.id:
            evil = m.Response(ep=1, id=message.id, offset=message.offset, total=4, data=b"evil")
            await other.say(Channel.RESPONSE, evil, "blob")
        await serve(address, message)

    node.hear = hear
    assert (await bench.call("GET", url(x))).status_code == 200


async def test_an_execution_without_a_result_says_so(bench):
    node = await bench.node("north")
    job_id, x = await completed(bench, node)
    assert (await bench.get(f"jobs/{job_id}/results"))["Items"] == []
    assert "has no result" in (await refused(bench, x, 404))["Message"]


async def test_results_elsewhere_are_told_as_their_publisher_told_them(bench):
    node = await bench.node("north")
    node.result = m.ResultRef("0" * 64, 1, 1, "s3", {"Bucket": "b", "Key": "k"})
    job_id, _ = await completed(bench, node)
    assert (await bench.get(f"jobs/{job_id}/results"))["Items"] == [
        {"Type": "s3", "Params": {"Bucket": "b", "Key": "k"}}
    ]


async def test_archives_that_nobody_asks_for_give_way_and_come_again(bench):
    node = await bench.node("north")
    folder = bench.config.data_dir / "results"
    bench.hub.results.kept = 450_000
    names = []
    for number in range(3):
        node.keeps({"out": os.urandom(200_000), "n": str(number).encode()})
        names.append((await completed(bench, node))[1])
    for place, x in enumerate(names):
        assert (await bench.call("GET", url(x))).status_code == 200
        os.utime(folder / f"{x}.tar.gz", (place, place))
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{x}.tar.gz" for x in names[1:])
    assert (await bench.call("GET", url(names[0]))).status_code == 200


async def test_what_a_killed_hub_left_half_done_is_removed(bench):
    folder = bench.config.data_dir / "results"
    (folder / ".e-1.abc").mkdir()
    (folder / ".e-1.abc" / "0").write_bytes(b"half")
    (bench.config.data_dir / "blobs" / ".half.partial").write_bytes(b"half")
    await bench.restart()
    assert not list(folder.iterdir())
    assert not list((bench.config.data_dir / "blobs").iterdir())


async def test_a_full_disk_is_said(bench):
    node = await bench.node("north")
    node.keeps(FILES)
    _, x = await completed(bench, node)
    folder = bench.config.data_dir / "results"
    folder.rmdir()
    folder.write_bytes(b"not a folder")
    answer = await bench.call("GET", url(x))
    assert (answer.status_code, answer.json()["Code"]) == (503, "Unavailable")
    assert "cannot keep the result" in answer.json()["Message"]


async def test_a_late_result_is_no_result_of_the_job(bench):
    node = await bench.node("north")
    node.keeps(FILES)
    job_id, x = await completed(bench, node)
    late = msgspec.structs.replace(node.result, manifest="f" * 64)
    await node.report(x, ExecutionState.COMPLETED, result=late)
    assert (await bench.call("GET", url(x))).status_code == 200
    assert len((await bench.get(f"jobs/{job_id}/results"))["Items"]) == 1
