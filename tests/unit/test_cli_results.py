"""Results: downloaded, checked, and never laid over what is there."""

import gzip
import io
import json
import tarfile

import pytest

from tests.support.hub_stub import JOB_ID, JOBS, a_job_that, hub_stub_fixture, tender_fixture
from wire.files import manifest as manifests

FIXTURES = (hub_stub_fixture, tender_fixture)
FILES = {"exitCode": b"0", "outputs/a.csv": b"1,2\n", "stderr": b"", "stdout": b"hello\n"}


def archive(files, members=()):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for member in members:
            tar.addfile(member)
    return out.getvalue()


def sealed(tmp_path, files):
    folder = tmp_path / "sealed"
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return {**files, "manifest.json": manifests.encode(manifests.build(folder))}


@pytest.fixture
def results(hub_stub):
    """Teach the stub a completed job with these archives as its results."""

    def teach(*archives, items=()):
        a_job_that(hub_stub, "Completed")
        listed = list(items)
        for number, data in enumerate(archives):
            path = f"/api/v1/orchestrator/results/e-{number}.tar.gz"
            hub_stub.answer("GET", path, data)
            listed.append({"Type": "urlDownload", "Params": {"URL": hub_stub.url + path}})
        hub_stub.answer("GET", f"{JOBS}/{JOB_ID}/results", {"NextToken": "", "Items": listed})

    return teach


def test_results_are_unpacked_and_every_file_is_checked_by_hash(results, tender, tmp_path):
    results(archive(sealed(tmp_path, FILES)))
    target = tmp_path / "got"
    ran = tender("job", "get", "weather", "--output-dir", str(target))
    assert ran.code == 0, ran.err
    assert "4 verified by hash" in ran.out
    assert {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()} == sealed(
        tmp_path, FILES
    )


def test_the_default_folder_is_called_after_the_job(results, tender, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results(archive(FILES))
    assert tender("job", "get", "weather").code == 0
    assert (tmp_path / "job-j-11111111" / "stdout").read_bytes() == b"hello\n"


def test_what_exists_is_left_alone_unless_told_otherwise(results, tender, tmp_path):
    results(archive(FILES))
    target = tmp_path / "got"
    target.mkdir()
    (target / "mine").write_text("precious")
    ran = tender("job", "get", "weather", "--output-dir", str(target))
    assert ran.code == 1
    assert "--overwrite" in ran.err
    assert (target / "mine").read_text() == "precious"
    assert tender("job", "get", "weather", "--output-dir", str(target), "--overwrite").code == 0
    assert sorted(p.name for p in target.iterdir()) == ["exitCode", "outputs", "stderr", "stdout"]


def test_a_result_that_differs_from_its_manifest_is_refused_and_nothing_stays(results, tender, tmp_path):
    files = sealed(tmp_path, FILES)
    results(archive({**files, "stdout": b"hacked"}))
    target = tmp_path / "got" / "here"
    ran = tender("job", "get", "weather", "--output-dir", str(target))
    assert ran.code == 1
    assert "damaged" in ran.err
    assert list((tmp_path / "got").iterdir()) == []


def link(name, to, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize(
    ("files", "members"),
    [
        ({"../out": b"x"}, ()),
        ({"/etc/x": b"x"}, ()),
        ({}, [link("a", "/etc/passwd", tarfile.SYMTYPE)]),
        ({}, [link("a", "b", tarfile.LNKTYPE)]),
        ({}, [link("a", "", tarfile.FIFOTYPE)]),
        ({"a\nb": b"x"}, ()),
    ],
    ids=["parent", "absolute", "symlink", "hardlink", "fifo", "newline"],
)
def test_an_archive_with_anything_but_plain_files_inside_is_refused(results, tender, tmp_path, files, members):
    results(archive(files, members))
    ran = tender("job", "get", "weather", "--output-dir", str(tmp_path / "got"))
    assert ran.code == 1
    assert not (tmp_path / "got").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"junk" + d, lambda d: gzip.compress(gzip.decompress(d)[:700])]
)
def test_a_damaged_archive_is_refused(results, tender, tmp_path, damage):
    results(damage(archive({**FILES, "big": bytes(range(256)) * 400})))
    ran = tender("job", "get", "weather", "--output-dir", str(tmp_path / "got"))
    assert ran.code == 1
    assert not (tmp_path / "got").exists()


def test_results_of_several_executions_are_merged_or_kept_apart(results, tender, tmp_path):
    results(archive({"stdout": b"one\n", "a/1": b"1"}), archive({"stdout": b"two\n", "a/2": b"2"}))
    assert tender("job", "get", "weather", "--output-dir", str(tmp_path / "m")).code == 0
    assert (tmp_path / "m" / "stdout").read_text() == "one\ntwo\n"
    assert sorted(p.name for p in (tmp_path / "m" / "a").iterdir()) == ["1", "2"]
    assert tender("job", "get", "weather", "--raw", "--output-dir", str(tmp_path / "r")).code == 0
    assert (tmp_path / "r" / "e-1" / "stdout").read_text() == "two\n"


def test_the_same_path_from_two_executions_is_refused_with_a_way_out(results, tender, tmp_path):
    results(archive({"a/x": b"1"}), archive({"a/x": b"2"}))
    ran = tender("job", "get", "weather", "--output-dir", str(tmp_path / "m"))
    assert ran.code == 1
    assert "--raw" in ran.err


def test_presigned_urls_are_fetched_and_other_places_are_told(results, tender, tmp_path, hub_stub):
    hub_stub.answer("GET", "/bucket/key.tar.gz", archive(FILES))
    signed = {"Type": "s3PreSigned", "Params": {"PreSignedURL": f"{hub_stub.url}/bucket/key.tar.gz?sig=1"}}
    elsewhere = {"Type": "s3", "Params": {"Bucket": "b", "Key": "k"}}
    results(items=[signed, elsewhere])
    ran = tender("job", "get", "weather", "--output-dir", str(tmp_path / "got"), "--output", "json")
    told = json.loads(ran.out)
    assert told["Elsewhere"] == [elsewhere]
    assert "stdout" in told["Files"]


def test_no_results_is_3_and_a_url_that_is_no_web_address_is_refused(results, tender, tmp_path):
    results()
    assert tender("job", "get", "weather", "--output-dir", str(tmp_path / "a")).code == 3
    results(items=[{"Type": "urlDownload", "Params": {"URL": "file:///etc/passwd"}}])
    assert tender("job", "get", "weather", "--output-dir", str(tmp_path / "b")).code == 1


def test_the_key_is_not_sent_to_other_places(results, tender, tmp_path, hub_stub, monkeypatch):
    monkeypatch.setenv("TENDER_API_KEY", "s3cret")
    other = hub_stub.url.replace("127.0.0.1", "localhost")
    hub_stub.answer("GET", "/k.tar.gz", archive(FILES))
    results(items=[{"Type": "urlDownload", "Params": {"URL": f"{other}/k.tar.gz"}}])
    assert tender("job", "get", "weather", "--output-dir", str(tmp_path / "got")).code == 0
    fetched = [one for one in hub_stub.asked if one.path == "/k.tar.gz"]
    assert "authorization" not in fetched[0].headers
