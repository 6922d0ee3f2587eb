"""Result manifests: canonical bytes, identity, and the corpus of outputs that are refused."""

import hashlib
import os
import socket
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.failures import ExecutionFailed, InvalidRequest, TenderError
from wire.files import manifest
from wire.files.manifest import File, Manifest
from wire.files.tree import Limits, open_beneath


@pytest.fixture(name="results")
def results_fixture(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / "outputs" / "deep").mkdir(parents=True)
    (folder / "stdout").write_bytes(b"hello\n")
    (folder / "stderr").touch()
    (folder / "exitCode").write_text("0")
    (folder / "outputs" / "deep" / "ü.bin").write_bytes(bytes(3_000_000))
    (folder / "empty").mkdir()
    return folder


def refused(folder: Path, limits: Limits | None = None) -> str:
    with pytest.raises(ExecutionFailed) as caught:
        manifest.build(folder, limits)
    assert not caught.value.reason.retryable
    return caught.value.reason.code


def test_every_file_is_listed_with_size_and_sha256(results):
    made = manifest.build(results)
    assert made.folders == ("empty", "outputs", "outputs/deep")
    assert [file.path for file in made.files] == ["exitCode", "outputs/deep/ü.bin", "stderr", "stdout"]
    assert made.files[3] == File("stdout", 6, hashlib.sha256(b"hello\n").hexdigest())
    assert made.size == 3_000_007


def test_the_identity_is_the_hash_of_the_stored_bytes_and_depends_on_content_only(results):
    made = manifest.seal(results)
    stored = (results / "manifest.json").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == made.identity
    os.utime(results / "stdout", ns=(1, 1))
    (results / "manifest.json.part").write_text("left by a crash")
    assert manifest.seal(results).identity == made.identity
    assert manifest.load(results) == made
    (results / "stdout").write_bytes(b"hellO\n")
    assert manifest.build(results).identity != made.identity


def test_any_difference_to_the_manifest_is_named(results):
    made = manifest.seal(results)
    manifest.verify(results, made)
    manifest.verify(results, made, deep=False)
    (results / "stdout").write_bytes(b"hellO\n")
    manifest.verify(results, made, deep=False)
    with pytest.raises(ExecutionFailed, match="'stdout' differs"):
        manifest.verify(results, made)
    (results / "stdout").unlink()
    with pytest.raises(ExecutionFailed, match="'stdout' is missing"):
        manifest.verify(results, made, deep=False)
    (results / "stdout").write_bytes(b"hello\n")
    (results / "more").touch()
    with pytest.raises(ExecutionFailed, match="'more' is not in the manifest"):
        manifest.verify(results, made)


def test_a_link_is_refused_and_no_byte_of_the_host_is_read(results):
    for target in ["/etc/passwd", "stdout", "/", "nowhere"]:
        link = results / "outputs" / "link"
        link.symlink_to(target)
        assert refused(results) == "output-symlink"
        link.unlink()


def test_a_results_folder_that_is_itself_a_link_is_not_entered(results, tmp_path):
    (tmp_path / "alias").symlink_to(results)
    with pytest.raises(OSError, match=r"directory|symbolic"):
        manifest.build(tmp_path / "alias")


def test_pipes_sockets_and_devices_are_refused_without_waiting(results):
    os.mkfifo(results / "pipe")
    assert refused(results) == "output-special"
    (results / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(results / "sock"))
        assert refused(results) == "output-special"
    (results / "sock").unlink()
    if os.geteuid() == 0:
        os.mknod(results / "device", 0o600 | 0o020000, os.makedev(1, 5))
        assert refused(results) == "output-special"


@pytest.mark.parametrize(
    "name", [b"new\nline", b"\x1b[31m", b"tab\t", b"\xff\xfe", "line\u2028break".encode(), b"\x7f"]
)
def test_a_hard_name_is_refused_and_shown_safely(results, name):
    Path(os.fsdecode(os.fsencode(results) + b"/outputs/" + name)).touch()
    with pytest.raises(ExecutionFailed) as caught:
        manifest.build(results)
    assert caught.value.reason.code == "output-name"
    assert caught.value.reason.message.isprintable()


def test_a_terabyte_of_holes_is_refused_before_it_is_read(results):
    with (results / "giant").open("wb") as giant:
        giant.truncate(1 << 40)
    assert refused(results) == "output-sparse"


def test_too_much_of_anything_is_refused(results):
    assert refused(results, Limits(entries=5)) == "output-too-many"
    assert refused(results, Limits(size=1_000_000)) == "output-too-large"
    assert refused(results, Limits(depth=2)) == "output-too-deep"
    assert refused(results, Limits(path_bytes=12)) == "output-name"


def test_a_file_that_grows_under_the_reader_is_refused(results):
    walk = manifest.walk(results, Limits(), manifest.RESERVED)
    entry = next(entry for entry in walk if entry.path == "stdout")
    with (results / "stdout").open("ab") as out:
        out.write(b"more")
    assert entry.fd is not None
    with pytest.raises(ExecutionFailed) as caught:
        manifest._digest(entry, entry.fd)
    assert caught.value.reason.code == "output-changed"


def test_opening_beneath_a_folder_follows_no_link_at_any_level(results, tmp_path):
    os.close(open_beneath(results, "outputs/deep/ü.bin"))
    (results / "way").symlink_to(tmp_path)
    (results / "file").symlink_to("/etc/passwd")
    for path in ["way/results/stdout", "file", "../results/stdout", "/etc/passwd", "outputs", "", "."]:
        with pytest.raises(OSError, match=r".*"):
            open_beneath(results, path)


def test_only_canonical_bytes_are_read(results):
    data = manifest.encode(manifest.build(results))
    assert manifest.decode(data).size == 3_000_007
    loose = msgspec.json.format(data)
    twice = data.replace(b'{"version":1,', b'{"version":1,"version":1,')
    unsorted = manifest.encode(Manifest(folders=("b", "a")))
    for case in [loose, twice, unsorted, b"", b"{}", b"[]", data[:-1], data.replace(b'"version":1', b'"version":2')]:
        with pytest.raises(InvalidRequest):
            manifest.decode(case)
    for path in ["../x", "/x", "a//b", "a/../b", "a\nb", ""]:
        with pytest.raises(TenderError):
            manifest.decode(manifest.encode(Manifest(files=(File(path, 1, "0" * 64),))))


@given(st.binary(max_size=300))
def test_noise_is_never_a_manifest(noise):
    with pytest.raises(InvalidRequest):
        manifest.decode(noise)


_PATHS = st.lists(st.text("abcé名", min_size=1, max_size=5), min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(_PATHS, st.integers(0, 1 << 50), max_size=8), st.sets(_PATHS, max_size=5))
def test_what_is_encoded_is_decoded_the_same(sizes, folders):
    files = tuple(File(path, size, hashlib.sha256(path.encode()).hexdigest()) for path, size in sorted(sizes.items()))
    made = Manifest(folders=tuple(sorted(folders)), files=files)
    parents = {path[:place] for path in (*sizes, *folders) for place, letter in enumerate(path) if letter == "/"}
    if sizes.keys() & (folders | parents):
        with pytest.raises(InvalidRequest, match="as a file and as a folder"):
            manifest.decode(manifest.encode(made))
    else:
        assert manifest.decode(manifest.encode(made)) == made


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.part"])
def test_a_manifest_never_lists_itself(name):
    made = manifest.Manifest(files=(manifest.File(name, 0, "0" * 64),))
    with pytest.raises(InvalidRequest, match="lists itself"):
        manifest.decode(manifest.encode(made))


def test_a_hash_is_64_digits_and_nothing_after_them():
    made = manifest.Manifest(files=(manifest.File("a", 0, "0" * 64 + "\n"),))
    with pytest.raises(InvalidRequest, match="not a manifest"):
        manifest.decode(manifest.encode(made))
