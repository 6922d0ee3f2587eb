"""Our tar.gz reader: what it takes, and the corpus of archives that it refuses."""

import contextlib
import gzip
import io
import os
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.inputs.archive import ArchiveLimits, unpack
from tests.support.examples import examples
from tests.support.tars import member, members, tar_gz
from wire.failures import ExecutionFailed


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(data: bytes, into: Path, limits: ArchiveLimits | None = None) -> str:
    with pytest.raises(ExecutionFailed) as caught:
        unpack(io.BytesIO(data), into, limits)
    assert not caught.value.reason.retryable
    return caught.value.reason.code


def test_files_folders_and_long_names_come_out_as_they_went_in(tmp_path):
    long = "/".join(["folder-with-a-long-name"] * 6) + "/" + "n" * 200
    files = {"main.wasm": os.urandom(70_000), "a/b/empty": b"", "ü/名": b"x", long: b"long"}
    assert unpack(io.BytesIO(tar_gz(files)), tmp_path) == 70_005
    assert tree(tmp_path) == files


def test_gnu_long_names_and_old_folders_are_understood(tmp_path):
    plain = io.BytesIO()
    name = "d/" + "x" * 180
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(member("d", tarfile.DIRTYPE))
        info = member(name)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    unpack(io.BytesIO(gzip.compress(plain.getvalue())), tmp_path)
    assert tree(tmp_path) == {name: b"abc"}


def test_the_executable_bit_is_kept_and_nothing_else_of_the_mode(tmp_path):
    info = member("run.sh")
    info.mode = 0o6777
    unpack(io.BytesIO(members((info, b"#!"), (member("data"), b"x"))), tmp_path)
    assert (tmp_path / "run.sh").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "data").stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize(
    "name",
    ["../up", "a/../../up", "/etc/passwd", "a\\b", "C:evil", "new\nline", "\x1b[2J", "n" * 256, "..", "a/./../b"],
)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path, name):
    into = tmp_path / "in"
    into.mkdir()
    assert refused(tar_gz({name: b"x"}), into) in {"archive-name", "archive-damaged"}
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, b"S", b"?"]
)
def test_links_devices_and_unknown_kinds_are_refused(tmp_path, kind):
    assert refused(members((member("thing", kind, "/etc/passwd"), b"")), tmp_path) == "archive-link"


def test_a_file_cannot_take_the_place_of_another_or_become_a_folder(tmp_path):
    for number, pair in enumerate([("a", "a"), ("a", "A"), ("a", "a/b"), ("é", "e\u0301")]):
        into = tmp_path / str(number)
        into.mkdir()
        data = members((member(pair[0]), b"1"), (member(pair[1]), b"2"))
        assert refused(data, into) == "archive-name"


def test_a_bomb_is_cut_off_by_its_ratio_before_it_fills_the_disk(tmp_path):
    assert refused(tar_gz({"zeros": bytes(64 * 1024 * 1024)}), tmp_path) == "archive-ratio"
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 40 * 1024 * 1024


def test_too_much_of_anything_is_refused(tmp_path):
    for number, (files, limits, code) in enumerate(
        [
            ({str(n): b"" for n in range(11)}, ArchiveLimits(entries=10), "archive-too-many"),
            ({"a/" * 5 + "f": b""}, ArchiveLimits(entries=5), "archive-too-many"),
            ({"f": os.urandom(5000)}, ArchiveLimits(size=4096), "archive-too-large"),
            ({"a/" * 32 + "f": b""}, ArchiveLimits(), "archive-too-deep"),
        ]
    ):
        into = tmp_path / str(number)
        into.mkdir()
        assert refused(tar_gz(files), into, limits) == code


def test_a_million_headers_without_a_file_are_refused(tmp_path):
    many = members(*[(member("f", tarfile.XGLTYPE), b"") for _ in range(40)], (member("f"), b""))
    assert refused(many, tmp_path, ArchiveLimits(entries=10)) == "archive-too-many"


def test_a_sparse_member_told_by_properties_is_refused(tmp_path):
    info = member("holes")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.size": str(1 << 40)}
    assert refused(members((info, b"")), tmp_path) == "archive-link"


def test_damage_is_noticed_wherever_it_is(tmp_path):
    good = tar_gz({"f": os.urandom(2000)})
    raw = bytearray(gzip.decompress(good))
    raw[0] ^= 1
    cases = [good[:-9], good[: len(good) // 2], good + b"more", b"", b"not gzip", gzip.compress(bytes(raw))]
    cases += [gzip.compress(gzip.decompress(good)[:700]), good[:-8] + b"\0" * 8]
    for number, case in enumerate(cases):
        into = tmp_path / str(number)
        into.mkdir()
        assert refused(case, into) == "archive-damaged", number


def test_a_claimed_size_beyond_everything_is_refused(tmp_path):
    info = member("f")
    info.pax_headers = {"size": "9" * 16}
    assert refused(members((info, b"")), tmp_path) == "archive-damaged"


@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(noise=st.binary(max_size=2048), at=st.integers(0, 2048))
def test_noise_in_an_archive_gives_files_or_a_refusal_and_never_leaves_the_folder(tmp_path_factory, noise, at):
    outer = tmp_path_factory.mktemp("noise")
    into = outer / "in"
    into.mkdir()
    raw = bytearray(gzip.decompress(tar_gz({"d/one": b"1" * 600, "two": b"2"})))
    raw[at : at + len(noise)] = noise
    with contextlib.suppress(ExecutionFailed):
        unpack(io.BytesIO(zlib.compress(bytes(raw), wbits=31)), into)
    assert list(outer.iterdir()) == [into]
    assert not any(path.is_symlink() for path in into.rglob("*"))
