"""The audit chain on a real database: whatever is changed, dropped, moved or cut off is found, and pruning is not."""

import msgspec
import pytest

from hub.store import audit, schema
from hub.store.audit import Change, Wanted
from wire.auditing import FIRST, BrokenChain, Entry, Verifier, digest
from wire.database import Database
from wire.migration import migrate


@pytest.fixture
async def database(tmp_path):
    migrate(tmp_path / "hub.db", schema.SCHEMA, schema.VERSION)
    opened = Database(tmp_path / "hub.db")
    opened.open()
    await add(opened, 10)
    yield opened
    opened.close()


async def add(database, count):
    for _ in range(count):
        change = Change(user="ann", action="PUT /x", target="job j-1", details={"name": "one"})
        await database.write(lambda c, change=change: audit.append(c, change))


async def verify(database, noted=None):
    """Follow the chain as everybody does; the number and hash of its end."""
    verifier = Verifier(noted)
    for _, raw, claimed in (await database.read(lambda c: audit.find(c, Wanted(), 0, 10**6, newest_first=False))).items:
        verifier.add(raw, claimed)
    verifier.end(await database.read(audit.head))
    return verifier.head


async def tamper(database, statement, *values):
    await database.write(lambda c: c.execute(statement, values))


def rehashed(number, **fields):
    """An entry that somebody wrote anew, with the hash that fits it."""
    entry = Entry(seq=number, time=1, user="eve", action="PUT /x", target="job j-2", prev=FIRST)
    raw = msgspec.json.encode(msgspec.structs.replace(entry, **fields))
    return raw, digest(raw)


async def test_an_untouched_chain_is_whole_and_goes_on_after_it_was_verified(database):
    head = await verify(database)
    assert head[0] == 10
    await add(database, 3)
    assert (await verify(database, dict([head])))[0] == 13


@pytest.mark.parametrize("number", [1, 5, 10])
async def test_an_edited_entry_is_found(database, number):
    await tamper(database, "UPDATE audit SET entry = CAST(replace(entry, 'ann', 'eve') AS BLOB) WHERE seq = ?", number)
    with pytest.raises(BrokenChain, match=f"entry {number}: its bytes do not have its hash"):
        await verify(database)


@pytest.mark.parametrize("number", [1, 5])
async def test_an_entry_that_was_written_anew_with_a_fitting_hash_is_found_at_the_next(database, number):
    before = await database.read(lambda c: audit.find(c, Wanted(), number - 2, 1, newest_first=False))
    prev = before.items[0][2] if number > 1 else FIRST
    raw, its = rehashed(number, prev=prev)
    await tamper(database, "UPDATE audit SET entry = ?, hash = ? WHERE seq = ?", raw, its, number)
    with pytest.raises(BrokenChain, match=f"entry {number + 1}: does not follow entry {number}"):
        await verify(database)


async def test_the_last_entry_written_anew_is_found_by_who_noted_the_end(database):
    noted = dict([await verify(database)])
    prev = (await database.read(lambda c: audit.find(c, Wanted(), 8, 1, newest_first=False))).items[0][2]
    raw, its = rehashed(10, prev=prev)
    await tamper(database, "UPDATE audit SET entry = ?, hash = ? WHERE seq = 10", raw, its)
    with pytest.raises(BrokenChain, match="entry 10: is not the one that was noted"):
        await verify(database, noted)


@pytest.mark.parametrize("number", [1, 5, 9])
async def test_a_deleted_entry_is_found(database, number):
    await tamper(database, "DELETE FROM audit WHERE seq = ?", number)
    with pytest.raises(BrokenChain, match=r"missing|does not follow"):
        await verify(database)


async def test_entries_in_another_order_are_found(database):
    found = await database.read(lambda c: audit.find(c, Wanted(), 0, 10, newest_first=False))
    rows = {number: (raw, its) for number, raw, its in found.items}
    for here, there in ((4, 5), (5, 4)):
        await tamper(database, "UPDATE audit SET entry = ?, hash = ? WHERE seq = ?", *rows[there], here)
    with pytest.raises(BrokenChain, match="does not follow entry 3"):
        await verify(database)


@pytest.mark.parametrize("number", [0, 7, 9])
@pytest.mark.parametrize("more", [0, 2])
async def test_a_cut_off_end_is_found_also_when_more_was_written_behind_it(database, number, more):
    await tamper(database, "DELETE FROM audit WHERE seq > ?", number)
    await add(database, more)
    with pytest.raises(BrokenChain, match=r"missing|does not follow"):
        await verify(database)


async def test_a_cut_off_end_is_found_by_who_noted_it_whatever_sqlite_remembers(database):
    noted = dict([await verify(database)])
    await tamper(database, "DELETE FROM audit WHERE seq > 7")
    await tamper(database, "UPDATE sqlite_sequence SET seq = 7 WHERE name = 'audit'")
    assert (await verify(database))[0] == 7
    with pytest.raises(BrokenChain, match="entry 10: was noted and is missing"):
        await verify(database, noted)


# --- letting go of old entries ----------------------------------------------------------------------


async def pruned(database, keep=10**6, before=0, most=10**6):
    through = await database.write(lambda c: audit.anchor(c, keep, before))
    gone = await database.write(lambda c: audit.drop_through(c, through, most)) if through else 0
    return through, gone


async def test_what_is_over_the_number_goes_and_the_chain_stays_whole(database):
    assert await pruned(database, keep=4) == (6, 6)
    assert (await verify(database))[0] == 11
    assert await pruned(database, keep=4) == (0, 0), "the entry that tells of it does not count"
    await add(database, 3)
    assert await pruned(database, keep=4) == (10, 4)
    assert (await verify(database))[0] == 15


async def test_what_is_over_its_time_goes(database):
    times = [
        msgspec.json.decode(raw)["time"]
        for _, raw, _ in (await database.read(lambda c: audit.find(c, Wanted(), 0, 10, newest_first=False))).items
    ]
    assert await pruned(database, before=times[0]) == (0, 0)
    assert await pruned(database, before=times[3]) == (3, 3)
    assert await pruned(database, before=times[-1] * 2) == (11, 8)
    assert (await verify(database))[0] == 12


async def test_the_chain_is_whole_at_any_moment_of_a_pruning_in_parts(database):
    through = await database.write(lambda c: audit.anchor(c, 4, 0))
    while await database.write(lambda c: audit.drop_through(c, through, 1)):
        await verify(database)
    # The hub was killed in the middle: the next round takes the rest with an entry of its own.
    await add(database, 20)
    await pruned(database, keep=4, most=3)
    assert await pruned(database, keep=4)
    assert await verify(database)


async def test_dropping_more_than_the_chain_tells_is_found(database):
    await pruned(database, keep=4)
    await tamper(database, "DELETE FROM audit WHERE seq = 7")
    with pytest.raises(BrokenChain, match="no entry says why"):
        await verify(database)


@pytest.mark.parametrize(
    "details", [{}, {"through": "x", "hash": ""}, {"through": "3", "hash": "0" * 64}, {"through": "99", "hash": ""}]
)
async def test_an_entry_that_tells_of_another_pruning_explains_nothing(database, details):
    change = Change(user="hub", action="audit pruned", target="entries", details=details)
    await database.write(lambda c: audit.append(c, change))
    await tamper(database, "DELETE FROM audit WHERE seq <= 3")
    with pytest.raises(BrokenChain, match="no entry says why"):
        await verify(database)


# --- finding ----------------------------------------------------------------------------------------


async def test_entries_are_found_by_user_action_object_and_time(database):
    for user, action, target in (("bob", "DELETE /jobs/{}", "job j-7"), ("bob", "PUT /users/{}", "user ann")):
        await database.write(
            lambda c, w=(user, action, target): audit.append(c, Change(user=w[0], action=w[1], target=w[2]))
        )

    async def found(**wanted):
        got = await database.read(lambda c: audit.find(c, Wanted(**wanted), 0, 100, newest_first=True))
        return [number for number, _, _ in got.items]

    assert await found(user="bob") == [12, 11]
    assert await found(user="bo") == []
    assert await found(action="delete") == [11]
    assert await found(target="USER") == [12]
    assert await found(user="ann", target="j-1", since=2**62) == []
    assert len(await found(since=1)) == 12


async def test_a_page_of_a_filtered_list_looks_at_so_many_entries_and_says_where_to_go_on(database, monkeypatch):
    monkeypatch.setattr(audit, "LOOKED_AT", 4)
    wanted, start, pages = Wanted(user="nobody"), 0, 0
    while (found := await database.read(lambda c, at=start: audit.find(c, wanted, at, 5, newest_first=True))).more:
        start, pages = found.reached, pages + 1
    assert (found.items, found.reached, pages) == ([], 1, 2)
