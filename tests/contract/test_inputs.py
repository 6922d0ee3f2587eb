"""Input sources: what every one of them promises, and what each does by itself."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.files.transfer import Transfers
from agent.inputs.archive import ArchiveLimits
from agent.inputs.base import InputSource
from agent.inputs.cache import ContentCache
from agent.inputs.http import HttpSource, file_name
from agent.inputs.inline import InlineSource
from agent.inputs.local import LocalSource
from tests.support.tars import tar_gz
from tests.support.web import WebServer, answer, web_server
from wire.failures import ExecutionFailed

DATA = b"the bytes of the input"


def data_url(data: bytes, mime: str = "application/gzip") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def names(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(name="cache")
def cache_fixture(tmp_path: Path) -> ContentCache:
    return ContentCache(root=tmp_path / "cache")


@pytest.fixture(name="inline")
def inline_fixture(tmp_path: Path, cache: ContentCache) -> InlineSource:
    (tmp_path / "blobs").mkdir()
    return InlineSource(blobs=tmp_path / "blobs", cache=cache, limits=ArchiveLimits(size=1 << 20))


@pytest_asyncio.fixture(name="transfers")
async def transfers_fixture() -> AsyncIterator[Transfers]:
    transfers = Transfers()
    yield transfers
    await transfers.close()


@pytest_asyncio.fixture(name="site")
async def site_fixture() -> AsyncIterator[WebServer]:
    async with web_server() as site:
        site.pages["/data.bin"] = [answer("200 OK", DATA)]
        yield site


@pytest.fixture(name="http")
def http_fixture(transfers: Transfers, cache: ContentCache) -> HttpSource:
    return HttpSource(transfers=transfers, cache=cache, allow=["127.0.0.0/8"], size_cap=1 << 20)


@pytest.fixture(name="source", params=["inline", "packed", "local", "http", "http with sha256"])
def source_fixture(request, tmp_path: Path) -> tuple[InputSource, dict[str, object], str]:
    """A source, parameters that bring DATA, and where the file is below the fetched path."""
    kind = request.param
    if kind == "local":
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared" / "data.bin").write_bytes(DATA)
        source = LocalSource(allowed=[f"{tmp_path}/shared/**:ro"])
        return source, {"sourcepath": str(tmp_path / "shared")}, "data.bin"
    if kind in {"inline", "packed"}:
        inline = request.getfixturevalue("inline")
        if kind == "inline":
            return inline, {"url": data_url(DATA, "text/plain")}, ""
        return inline, {"URL": data_url(tar_gz({"data.bin": DATA}))}, "data.bin"
    params = {"URL": request.getfixturevalue("site").url + "/data.bin"}
    if "sha256" in kind:
        params["SHA256"] = sha256(DATA).upper()
    return request.getfixturevalue("http"), params, "data.bin"


async def reason(source: InputSource, params: dict[str, object], into: Path) -> str:
    with pytest.raises(ExecutionFailed) as caught:
        await source.fetch(params, into)
    return caught.value.reason.code


async def test_the_same_input_is_brought_again_and_again(source, tmp_path):
    source, params, name = source
    for attempt in range(2):
        estimate = await source.estimate(params)
        assert estimate.refusals == []
        into = tmp_path / f"into-{attempt}"
        fetched = await source.fetch(params, into)
        assert (Path(fetched.path) / name).read_bytes() == DATA
        assert fetched.read_only
        assert fetched.shared or Path(fetched.path).is_relative_to(into)


async def test_parameters_that_cannot_be_meant_are_refused_before_and_at_the_fetch(source, tmp_path):
    source, params, _ = source
    for wrong in [
        {},
        {"Nonsense": "1"},
        params | {"Extra": "x"},
        params | {k.swapcase(): v for k, v in params.items()},
    ]:
        [refusal] = (await source.estimate(wrong)).refusals
        assert refusal.code == "bad-params"
        assert not refusal.retryable
        assert await reason(source, wrong, tmp_path / "wrong") == "bad-params"


async def test_a_packed_input_is_unpacked_once_and_shared(inline, tmp_path):
    params = {"URL": data_url(tar_gz({"m.wasm": b"wasm"}))}
    first, second = await asyncio.gather(inline.fetch(params, tmp_path), inline.fetch(params, tmp_path))
    assert first == second
    assert first.shared
    assert names(first.path) == ["m.wasm"]


async def test_a_blob_is_wanted_until_it_is_here_and_checked_when_used(inline, tmp_path):
    packed = tar_gz({"m.wasm": b"wasm"})
    params: dict[str, object] = {"URL": f"blob:sha256:{sha256(packed)};type=application/gzip;size={len(packed)}"}
    assert inline.wanted_blob(params) == sha256(packed)
    estimate = await inline.estimate(params)
    assert (estimate.local, estimate.size) == (False, len(packed))
    assert await reason(inline, params, tmp_path / "in") == "blob-missing"
    blob = tmp_path / "blobs" / sha256(packed)
    blob.write_bytes(packed[:-1])
    assert await reason(inline, params, tmp_path / "in") == "blob-damaged"
    assert not blob.exists()
    blob.write_bytes(packed)
    assert inline.wanted_blob(params) is None
    assert (await inline.estimate(params)).local
    fetched = await inline.fetch(params, tmp_path)
    assert (Path(fetched.path) / "m.wasm").read_bytes() == b"wasm"
    blob.unlink()
    assert inline.wanted_blob(params) is None
    assert await inline.fetch(params, tmp_path) == fetched


async def test_a_plain_blob_is_used_where_it_lies(inline, tmp_path):
    (tmp_path / "blobs" / sha256(DATA)).write_bytes(DATA)
    fetched = await inline.fetch({"URL": f"blob:sha256:{sha256(DATA)};type=text/plain"}, tmp_path)
    assert Path(fetched.path).read_bytes() == DATA
    assert fetched.shared


@pytest.mark.parametrize(
    "url",
    ["http://x/", "data:text/plain", "data:;base64,???", "blob:sha256:../../etc/passwd", "blob:sha256:" + "a" * 63, ""],
)
async def test_what_is_not_inline_data_is_refused(inline, tmp_path, url):
    assert await reason(inline, {"URL": url}, tmp_path / "in") == "bad-params"


async def test_a_hostile_archive_leaves_nothing_behind(inline, tmp_path):
    assert await reason(inline, {"URL": data_url(tar_gz({"a": b"1", "../b": b"2"}))}, tmp_path / "in") == "archive-name"
    assert list((tmp_path / "cache").iterdir()) == []


async def test_a_rotten_cache_entry_is_made_anew_after_a_restart(inline, tmp_path):
    params = {"URL": data_url(tar_gz({"manifest.json": b"good"}))}
    fetched = await inline.fetch(params, tmp_path)
    Path(fetched.path, "manifest.json").write_bytes(b"evil")
    (tmp_path / "cache" / ".staging-left").mkdir()
    again = InlineSource(blobs=tmp_path / "blobs", cache=ContentCache(root=tmp_path / "cache"))
    assert Path((await again.fetch(params, tmp_path)).path, "manifest.json").read_bytes() == b"good"
    assert not (tmp_path / "cache" / ".staging-left").exists()


async def test_the_cache_lets_go_of_what_is_not_in_use(inline, tmp_path):
    paths = []
    for number in range(3):
        params = {"URL": data_url(tar_gz({"f": os.urandom(1000) + bytes([number])}))}
        paths.append(Path((await inline.fetch(params, tmp_path)).path))
    assert await ContentCache(root=tmp_path / "cache").trim(1, in_use=[paths[1]]) > 1000
    assert [path.exists() for path in paths] == [False, True, False]


@pytest.fixture(name="plant")
def plant_fixture(tmp_path: Path) -> Path:
    plant = tmp_path / "plant"
    (plant / "ro").mkdir(parents=True)
    (plant / "rw").mkdir()
    (plant / "secret").mkdir()
    return plant


@pytest.fixture(name="local")
def local_fixture(plant: Path) -> LocalSource:
    return LocalSource(allowed=[f"{plant}/ro/**:ro", f"{plant}/rw/**:rw"])


async def test_a_local_path_may_be_written_only_where_the_owner_says_so(local, plant, tmp_path):
    assert (await local.fetch({"SourcePath": f"{plant}/rw", "ReadWrite": "true"}, tmp_path)).read_only is False
    assert (await local.fetch({"SourcePath": f"{plant}/rw"}, tmp_path)).read_only is True
    assert await reason(local, {"SourcePath": f"{plant}/ro", "ReadWrite": True}, tmp_path) == "path-not-allowed"


async def test_neither_dots_nor_links_reach_around_the_allow_list(local, plant, tmp_path):
    (plant / "rw" / "way").symlink_to(plant / "secret")
    (plant / "rw" / "etc").symlink_to("/etc")
    (plant / "secret" / "alias").symlink_to(plant / "ro")
    os.mkfifo(plant / "rw" / "pipe")
    tricks = ["secret", "ro/../secret", "rw/way", "rw/way/new", "rw/etc/passwd", "rw/../secret", "rw/pipe", "rw/\0"]
    for trick in [*(f"{plant}/{trick}" for trick in tricks), "plant/ro", "/", ""]:
        params = {"SourcePath": trick, "ReadWrite": True, "CreateAs": "dir"}
        assert await reason(local, params, tmp_path) == "path-not-allowed", trick
        assert [refusal.code for refusal in (await local.estimate(params)).refusals] == ["path-not-allowed"]
    fetched = await local.fetch({"SourcePath": f"{plant}/secret/alias"}, tmp_path)
    assert fetched.path == f"{plant}/ro"
    assert list((plant / "secret").iterdir()) == [plant / "secret" / "alias"]


async def test_a_missing_local_path_is_made_when_job_and_owner_agree(local, plant, tmp_path):
    folder = {"SourcePath": f"{plant}/rw/a/b", "ReadWrite": True, "CreateAs": "dir"}
    assert (await local.estimate(folder)).refusals == []
    for _ in range(2):
        assert Path((await local.fetch(folder, tmp_path)).path).is_dir()
    file = {"SourcePath": f"{plant}/rw/c/f.txt", "ReadWrite": True, "CreateAs": "file"}
    assert Path((await local.fetch(file, tmp_path)).path).read_bytes() == b""
    for missing in [
        {"SourcePath": f"{plant}/rw/x", "ReadWrite": True},
        {"SourcePath": f"{plant}/rw/x", "ReadWrite": True, "CreateAs": "noCreate"},
        {"SourcePath": f"{plant}/rw/x", "CreateAs": "dir"},
    ]:
        assert await reason(local, missing, tmp_path) == "path-missing"
        assert [refusal.code for refusal in (await local.estimate(missing)).refusals] == ["path-missing"]
    assert not (plant / "rw" / "x").exists()


async def test_a_url_becomes_a_folder_with_one_file(http, site, tmp_path):
    site.pages["/d/my%20file.csv?x=1"] = [answer("200 OK", DATA)]
    fetched = await http.fetch({"URL": site.url + "/d/my%20file.csv?x=1"}, tmp_path / "cache")
    assert names(fetched.path) == ["my file.csv"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b.txt", "b.txt"),
        ("http://h/a%20b?x=/c", "a b"),
        ("http://h/", "download"),
        ("http://h", "download"),
        ("http://h/a/", "download"),
        ("http://h/..", "download"),
        ("http://h/%2e%2e%2fx", "download"),
        ("http://h/a%0ab", "download"),
    ],
)
def test_the_file_name_of_a_url_is_tame(url, name):
    assert file_name(url) == name


async def test_with_a_checksum_a_file_is_fetched_once(http, site, tmp_path):
    params: dict[str, object] = {"URL": site.url + "/data.bin", "SHA256": sha256(DATA)}
    assert not (await http.estimate(params)).local
    first = await http.fetch(params, tmp_path)
    assert (await http.estimate(params)).local
    assert await http.fetch(params, tmp_path) == first
    assert site.asked == ["/data.bin"]


async def test_a_wrong_checksum_is_refused_and_not_kept(http, site, tmp_path):
    params = {"URL": site.url + "/data.bin", "SHA256": sha256(b"other")}
    assert await reason(http, params, tmp_path / "in") == "checksum-mismatch"
    assert list((tmp_path / "cache").iterdir()) == []


async def test_a_server_that_recovers_is_asked_again(http, site, tmp_path):
    site.pages["/f"] = [answer("503 Busy"), answer("200 OK", DATA, Content_Length="99"), answer("200 OK", DATA)]
    (tmp_path / "in").mkdir()
    fetched = await http.fetch({"URL": site.url + "/f"}, tmp_path / "in")
    assert Path(fetched.path, "f").read_bytes() == DATA
    assert names(fetched.path) == ["f"]
    assert len(site.asked) == 3


async def test_a_refusal_is_not_asked_again(http, site, tmp_path):
    assert await reason(http, {"URL": site.url + "/missing"}, tmp_path / "in") == "download-refused"
    assert len(site.asked) == 1


async def test_a_download_over_the_cap_is_cut_off_told_or_not(http, site, tmp_path):
    async def endless(_head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(bytes(64 * 1024))
            await writer.drain()

    site.scripts["/endless"] = endless
    site.pages["/told"] = [answer("200 OK", b"", Content_Length=str(1 << 40))]
    assert await reason(http, {"URL": site.url + "/told"}, tmp_path / "in") == "input-too-large"
    assert await reason(http, {"URL": site.url + "/endless"}, tmp_path / "in") == "input-too-large"


async def test_redirects_are_followed_but_not_for_ever(http, site, tmp_path):
    site.pages["/r"] = [answer("302 Found", Location="/data.bin")]
    site.pages["/loop"] = [answer("302 Found", Location="/loop")]
    (tmp_path / "in").mkdir()
    fetched = await http.fetch({"URL": site.url + "/r"}, tmp_path / "in")
    assert Path(fetched.path, "r").read_bytes() == DATA
    assert await reason(http, {"URL": site.url + "/loop"}, tmp_path / "in") == "url-refused"
    assert site.asked.count("/loop") == 6


async def test_a_redirect_to_a_blocked_address_is_not_followed(transfers, cache, site, tmp_path):
    http = HttpSource(transfers=transfers, cache=cache, allow=["127.0.0.1"])
    port = site.url.rpartition(":")[2]
    for host in ["169.254.169.254", f"127.0.0.2:{port}", f"[::1]:{port}", f"2130706434:{port}", "10.0.0.1"]:
        site.pages["/go"] = [answer("302 Found", Location=f"http://{host}/data.bin")]
        assert await reason(http, {"URL": site.url + "/go"}, tmp_path / "in") == "address-not-allowed"
    for target in ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://x", f"http://u:p@127.0.0.1:{port}/data.bin"]:
        site.pages["/go"] = [answer("302 Found", Location=target)]
        assert await reason(http, {"URL": site.url + "/go"}, tmp_path / "in") == "url-refused"
    assert set(site.asked) == {"/go"}


async def test_without_the_owners_word_a_job_reaches_no_private_address(transfers, cache, site, tmp_path):
    http = HttpSource(transfers=transfers, cache=cache)
    port = site.url.rpartition(":")[2]
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "0"]:
        code = await reason(http, {"URL": f"http://{host}:{port}/data.bin"}, tmp_path / "in")
        assert code == "address-not-allowed", host
    for url in ["file:///etc/passwd", "http://", "//x/y", "http://[::1", "http://h:99999/", "http://u@h/", "x" * 9000]:
        assert await reason(http, {"URL": url}, tmp_path / "in") == "url-refused"
        assert [refusal.code for refusal in (await http.estimate({"URL": url})).refusals] == ["url-refused"]
    assert site.asked == []


async def test_a_silent_server_is_given_up(transfers, cache, site, tmp_path):
    async def silent(_head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await writer.drain()
        await asyncio.Event().wait()

    site.scripts["/silent"] = silent
    for deadline, code in [(60.0, "download-unavailable"), (1.0, "transfer-deadline")]:
        http = HttpSource(transfers=transfers, cache=cache, allow=["127.0.0.1"], deadline=deadline, stall=0.5)
        assert await reason(http, {"URL": site.url + "/silent"}, tmp_path / "in") == code
        assert transfers.pids() == []
