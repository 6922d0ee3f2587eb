"""What the flags of wasm run and podman run become in a job."""

import base64
import gzip
import io
import tarfile

import pytest

from tui import flags
from tui.cli.options import TaskFlags
from tui.dataurl import data_url, plain_url, read_file
from tui.screen import Output
from tui.spec import container_job, wasm_job
from wire.failures import InvalidRequest, NotFound, TooLarge
from wire.jobs.parse import parse_job

MODULE = b"\0asm\x01\0\0\0"


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "tool.wasm"
    path.write_bytes(MODULE)
    return path


def unpacked(url):
    head, _, data = url.partition(",")
    assert head == "data:application/gzip;base64"
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(base64.b64decode(data)))) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_a_small_module_travels_as_it_is_and_is_called_main_wasm(module):
    task = wasm_job(TaskFlags(), module, ["a", "b"], "_start", [])["Tasks"][0]
    assert task["Engine"] == {
        "Type": "wasm",
        "Params": {"EntryModule": "main.wasm", "EntryPoint": "_start", "Parameters": ["a", "b"]},
    }
    [source] = task["InputSources"]
    assert source["Target"] == "main.wasm"
    assert base64.b64decode(source["Source"]["Params"]["URL"].partition(",")[2]) == MODULE


def test_a_module_over_512_bytes_travels_as_a_gzip_tar_under_its_own_name(tmp_path):
    large = tmp_path / "large.wasm"
    large.write_bytes(MODULE + bytes(505))
    url = wasm_job(TaskFlags(), large, [], "_start", [])["Tasks"][0]["InputSources"][0]["Source"]["Params"]["URL"]
    assert unpacked(url) == {"large.wasm": MODULE + bytes(505)}
    assert not data_url("x", bytes(512)).startswith("data:application/gzip")


def test_the_same_file_always_gives_the_same_url():
    packed = base64.b64decode(data_url("data", bytes(range(256)) * 10).partition(",")[2])
    assert packed[4:8] == bytes(4), "gzip's header names the time of packing"
    header = gzip.decompress(packed)[: tarfile.BLOCKSIZE]
    assert int(header[136:148].strip(b"\0 "), 8) == 0, "and tar's that of the file"


def test_a_job_from_flags_is_valid_and_keeps_every_flag(module):
    given = TaskFlags(
        name="sum",
        namespace="plant",
        priority=3,
        count=2,
        labels=["a=b=c"],
        constraints=["region=eu,disk>100", "zone in (a, b)", "!gpu", "ssd"],
        env=["X=1"],
        inputs=["https://example.org/a.txt,dst=/in"],
        output=["outputs:/outputs"],
        publisher="s3://bucket/key,opt=endpoint=http://x",
        cpu="500m",
        memory="64Mb",
        network="none",
        timeout=30,
        queue_timeout=5,
    )
    parsed = parse_job(wasm_job(given, module, [], "_start", []))
    job = parsed.job
    assert parsed.warnings == []
    assert (job.name, job.namespace, job.priority, job.count, job.labels) == ("sum", "plant", 3, 2, {"a": "b=c"})
    assert [(c.key, c.operator, c.values) for c in job.constraints] == [
        ("region", "=", ["eu"]),
        ("disk", "gt", ["100"]),
        ("zone", "in", ["a", "b"]),
        ("gpu", "!", []),
        ("ssd", "exists", []),
    ]
    assert job.task.env == {"X": "1"}
    assert job.task.input_sources[1].source.params == {"URL": "https://example.org/a.txt"}
    assert (job.task.result_paths[0].name, job.task.result_paths[0].path) == ("outputs", "/outputs")
    assert job.task.publisher.type == "s3"
    assert job.task.timeouts.total_timeout == 30
    assert job.task.network.type == "None"


def test_target_all_makes_an_ops_job(module):
    assert wasm_job(TaskFlags(target="all"), module, [], "_start", [])["Type"] == "ops"


def test_a_container_job_holds_image_command_and_engine_parameters():
    document = container_job(
        TaskFlags(), "busybox", ["echo", "hi"], entrypoint=["/bin/sh"], workdir="/tmp", pull="never"
    )
    assert document["Tasks"][0]["Engine"] == {
        "Type": "podman",
        "Params": {
            "Image": "busybox",
            "Parameters": ["echo", "hi"],
            "Entrypoint": ["/bin/sh"],
            "WorkingDirectory": "/tmp",
            "PullPolicy": "never",
        },
    }
    assert parse_job(document).job.task.engine.type == "podman"


@pytest.mark.parametrize(
    ("text", "kind", "params", "target"),
    [
        ("https://example.org/a.txt", "urlDownload", {"URL": "https://example.org/a.txt"}, "/inputs"),
        ("https://e.org/a,b.txt,dst=/x", "urlDownload", {"URL": "https://e.org/a,b.txt"}, "/x"),
        ("src=https://e.org/a,dst=/in", "urlDownload", {"URL": "https://e.org/a"}, "/in"),
        ("s3://b/k/*,dst=/p,opt=region=eu", "s3", {"Bucket": "b", "Key": "k/*", "Region": "eu"}, "/p"),
        ("ipfs://bafy", "ipfs", {"CID": "bafy"}, "/inputs"),
        ("file:///data/x,dst=/d", "local", {"SourcePath": "/data/x"}, "/d"),
        ("file:///data/x,dst=/d,opt=rw=true", "local", {"SourcePath": "/data/x", "ReadWrite": True}, "/d"),
        ("data:text/csv,a,b,dst=/t.csv", "inline", {"URL": "data:text/csv,a,b"}, "/t.csv"),
    ],
)
def test_inputs_are_read_as_bacalhau_writes_them(text, kind, params, target):
    [source] = flags.inputs([text])
    assert (source["Source"], source["Target"]) == ({"Type": kind, "Params": params}, target)


def test_a_file_of_this_machine_becomes_one_file_in_the_job(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,b\n" * 1000)
    [plain, placed] = flags.inputs([str(table), f"{table},dst=/x/y.csv"])
    assert plain["Target"] == "/inputs/t.csv"
    assert placed["Target"] == "/x/y.csv"
    assert plain["Source"]["Params"]["URL"] == plain_url(table)


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: flags.pairs(["novalue"], "--env"), "--env name=value"),
        (lambda: flags.constraints(["a=b=c d"]), "like region=eu"),
        (lambda: flags.results(["outputs"]), "-o outputs:/outputs"),
        (lambda: flags.publisher("ftp://x"), "s3://bucket/key"),
        (lambda: flags.inputs(["gopher://x"]), "https://"),
    ],
)
def test_a_flag_that_makes_no_sense_is_refused_with_an_example(call, hint):
    with pytest.raises(InvalidRequest) as refused:
        call()
    assert hint in refused.value.hint


def test_what_is_no_module_or_missing_or_too_large_is_refused_before_it_travels(tmp_path):
    text = tmp_path / "x.wasm"
    text.write_text("hello, world")
    with pytest.raises(InvalidRequest, match="not a WASM module"):
        wasm_job(TaskFlags(), text, [], "_start", [])
    text.write_bytes(b"\0asm\x0d\0\x01\0")
    with pytest.raises(InvalidRequest, match="component"):
        wasm_job(TaskFlags(), text, [], "_start", [])
    with pytest.raises(NotFound):
        wasm_job(TaskFlags(), tmp_path / "none.wasm", [], "_start", [])
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(8 * 1024**2)
    with pytest.raises(TooLarge):
        read_file(tmp_path / "huge")


def test_o_means_folders_to_keep_and_also_how_to_print():
    assert TaskFlags(output=["json", "outputs:/outputs"]).shown is Output.JSON
    assert TaskFlags(output=["json", "outputs:/outputs"]).folders == ["outputs:/outputs"]
    assert TaskFlags().shown is Output.TABLE
