"""A backup is whole or not there; a restore refuses what is not whole and leaves what was there."""

import asyncio
import fcntl
import stat
from pathlib import Path

import pytest

from hub.backups.backup import back_up, read_index
from hub.backups.restore import restore
from hub.blobs import Blobs
from hub.pki import Pki
from hub.store import fleet, schema
from tests.support.scenario import rows
from wire.auditing import Verifier
from wire.database import Database
from wire.failures import Conflict, InvalidRequest, NotFound, TenderError
from wire.migration import migrate


def make_hub(folder: Path) -> Database:
    """A hub's data folder, with its database open."""
    folder.mkdir(mode=0o700)
    Pki(folder / "pki").order_signer()
    Blobs(folder / "blobs").put(b"module")
    (folder / "broker").mkdir()
    (folder / "broker" / "port").write_text("4711\n")
    (folder / "results").mkdir()
    (folder / "results" / "e-1.tar.gz").write_bytes(b"result")
    migrate(folder / "hub.db", schema.SCHEMA, schema.VERSION)
    database = Database(folder / "hub.db")
    database.open()
    return database


@pytest.fixture
def hub(tmp_path):
    make_hub(tmp_path / "hub").close()
    return tmp_path / "hub"


@pytest.fixture
def backup(hub, tmp_path):
    back_up(hub, tmp_path / "backup")
    return tmp_path / "backup"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def meta(folder: Path) -> dict[str, str]:
    return {row["key"]: row["value"] for row in await rows(folder / "hub.db", "SELECT * FROM meta")}


def test_it_holds_database_keys_blobs_and_port_and_only_its_owner_may_read_it(backup, hub):
    files = set(read_index(backup).files)
    assert {"hub.db", "pki/ca.key", "pki/ca.pem", "pki/order.key", "broker/port"} <= files
    assert {name for name in files if name.startswith("blobs/")} == {f"blobs/{(next((hub / 'blobs').iterdir())).name}"}
    for path in (backup, *backup.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_a_restore_stands_in_the_audit_log_and_the_chain_goes_on(backup, hub):
    for _ in range(2):
        await asyncio.to_thread(restore, backup, hub)
    verifier = Verifier()
    (row,) = await rows(hub / "hub.db", "SELECT * FROM audit")
    entry = verifier.add(bytes(row["entry"]), row["hash"])
    verifier.end()
    assert (entry.user, entry.action, entry.target[:8]) == ("the hub's folder", "hub restore", "as of 20")


async def test_it_is_one_moment_of_a_hub_that_goes_on_writing(tmp_path):
    database = make_hub(tmp_path / "hub")

    def pair(connection):
        return fleet.next_number(connection, "epoch"), fleet.next_number(connection, "command")

    async def write():
        while True:
            await database.write(pair)

    writing = asyncio.create_task(write())
    for number in range(5):
        await asyncio.to_thread(back_up, tmp_path / "hub", tmp_path / f"backup-{number}")
    writing.cancel()
    database.close()
    taken = [await meta(tmp_path / f"backup-{number}") for number in range(5)]
    assert all(one.get("epoch") == one.get("command") for one in taken)
    assert int(taken[-1]["epoch"]) > int(taken[0].get("epoch", "0"))


def test_a_backup_that_fails_leaves_nothing(hub, tmp_path):
    (hub / "hub.db").write_bytes(b"SQLite format 3\0" + b"x" * 4000)
    with pytest.raises(Exception, match="database"):
        back_up(hub, tmp_path / "backup")
    assert {path.name for path in tmp_path.iterdir()} == {"hub"}


def test_it_is_never_written_over_another_one_and_not_taken_of_nothing(backup, hub, tmp_path):
    with pytest.raises(Conflict):
        back_up(hub, backup)
    with pytest.raises(NotFound):
        back_up(tmp_path / "nowhere", tmp_path / "other")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["hub.db", "pki/ca.key", "backup.json"])
@pytest.mark.parametrize("harm", [cut, flip, Path.unlink])
def test_a_damaged_backup_is_refused_and_what_is_there_stays(backup, hub, name, harm):
    before = contents(hub)
    harm(backup / name)
    with pytest.raises(TenderError):
        restore(backup, hub)
    assert contents(hub).items() >= before.items()
    assert {path.name for path in hub.parent.iterdir()} == {"hub", "backup"}


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "pki/../../evil", "pki/.hidden", "results/e.tar.gz"])
def test_an_index_cannot_name_other_places(backup, tmp_path, name):
    text = (backup / "backup.json").read_text().replace('"broker/port"', f'"{name}"')
    (backup / "backup.json").write_text(text)
    with pytest.raises(InvalidRequest, match="does not belong"):
        restore(backup, tmp_path / "new")


def test_a_link_in_a_backup_is_not_followed(backup, tmp_path):
    key = backup / "pki" / "ca.key"
    key.rename(tmp_path / "elsewhere")
    key.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotFound):
        restore(backup, tmp_path / "new")


def test_a_hub_that_runs_is_not_restored_over(backup, hub):
    with (hub / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="another hub runs"):
            restore(backup, hub)


def test_what_was_there_is_moved_aside_and_later_blobs_and_results_are_taken_over(backup, hub):
    later = Blobs(hub / "blobs").put(b"later").sha256
    (hub / "blobs" / ("0" * 64)).write_bytes(b"not what its name says")
    before = contents(hub)
    _, aside = restore(backup, hub)
    assert aside is not None
    assert {**contents(aside), "lock": b""} == {**before, "lock": b""}
    now = contents(hub)
    assert now[f"blobs/{later}"] == b"later"
    assert now["results/e-1.tar.gz"] == b"result"
    assert "blobs/" + "0" * 64 not in now
    assert now["pki/ca.key"] == before["pki/ca.key"]


def raise_to(hub: Path, number: int) -> None:
    async def work():
        database = Database(hub / "hub.db")
        database.open()
        await database.write(lambda connection: fleet.set_meta(connection, "epoch", str(number)))
        database.close()

    asyncio.run(work())


def test_its_numbers_are_above_all_that_nodes_have_seen_whatever_is_left_of_the_old_hub(backup, hub):
    raise_to(hub, 2**40)
    restore(backup, hub)
    first = asyncio.run(meta(hub))
    assert int(first["epoch"]) > 2**40
    assert first["restored"] == "waiting"
    raise_to(hub, int(first["epoch"]) + 10)
    restore(backup, hub)
    assert int(asyncio.run(meta(hub))["epoch"]) > int(first["epoch"]) + 10
    (hub / "hub.db").write_bytes(b"broken")
    restore(backup, hub)
    assert int(asyncio.run(meta(hub))["epoch"]) > 10**9


def test_tokens_that_may_have_been_used_since_are_worth_nothing(hub, tmp_path):
    async def save():
        database = Database(hub / "hub.db")
        database.open()
        await database.write(lambda c: fleet.save_token(c, "hash", expires=2**62, approve=True))
        database.close()

    asyncio.run(save())
    back_up(hub, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "new")
    assert asyncio.run(rows(tmp_path / "new" / "hub.db", "SELECT expires FROM join_tokens")) == [{"expires": 0}]
