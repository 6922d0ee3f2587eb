"""`tender audit` against the hub's real application over HTTP, and on files that were exported and bent."""

import asyncio
import json

import pytest

from tests.support.hub_bench import hub_bench
from tests.support.people import People
from tests.support.served import served
from tui.main import main


@pytest.fixture
async def people(tmp_path):
    async with hub_bench(tmp_path / "hub") as bench:
        some = People(bench)
        await some.add("root", ["*"], ["*"])
        for name in ("ann", "bob"):
            await some.ask("root", "POST", "/api/v1/users", json={"Name": name, "Capabilities": ["read:job"]})
        await some.ask("root", "DELETE", "/api/v1/users/bob")
        yield some


@pytest.fixture
async def tender(people, monkeypatch, capsys):
    """Runs a command as root; gives exit code, stdout and stderr."""
    async with served(people.bench) as url:
        monkeypatch.setenv("TENDER_URL", url)
        monkeypatch.setenv("TENDER_API_KEY", people.keys["root"])

        def call(words):
            monkeypatch.setattr("sys.argv", ["tender", *words])
            with pytest.raises(SystemExit) as ended:
                main()
            said = capsys.readouterr()
            return ended.value.code, said.out.strip(), said.err

        async def run(*words):
            return await asyncio.to_thread(call, words)

        yield run


async def test_changes_are_listed_newest_first_and_filtered(tender):
    code, out, _ = await tender("audit", "list", "--output", "json")
    assert (code, [entry["target"] for entry in json.loads(out)]) == (0, ["user bob", "user bob", "user ann"])
    _, out, _ = await tender("audit", "list", "--action", "delete", "--since", "1h", "--hide-header")
    assert ("user bob" in out, len(out.splitlines())) == (True, 1)
    assert (await tender("audit", "list", "--object", "ann", "--user", "nobody", "--hide-header"))[1] == ""
    assert json.loads((await tender("audit", "list", "--limit", "1", "--output", "json"))[1])[0]["seq"] == 3


async def test_the_hubs_log_is_verified_and_the_end_that_was_noted_is_held_to(people, tender):
    code, out, _ = await tender("audit", "verify")
    assert (code, out.startswith("3 entries, none changed or missing; the end is 3:")) == (0, True)
    noted = out.split()[-1]
    await people.ask("root", "DELETE", "/api/v1/users/ann")
    assert (await tender("audit", "verify", "--noted", noted))[0] == 0
    code, _, told = await tender("audit", "verify", "--noted", "2:" + "0" * 64)
    assert (code, "entry 2: is not the one that was noted" in told) == (1, True)
    assert (await tender("audit", "verify", "--noted", "2"))[0] == 2
    await people.bench.hub.database.write(
        lambda c: c.execute("UPDATE audit SET entry = CAST(replace(entry, 'ann', 'eve') AS BLOB)")
    )
    code, _, told = await tender("audit", "verify")
    assert (code, "entry 1: its bytes do not have its hash" in told) == (1, True)


async def test_an_exported_log_is_verified_without_a_hub(tender, tmp_path, monkeypatch):
    file = tmp_path / "log.jsonl"
    code, _, told = await tender("audit", "export", str(file))
    assert (code, told) == (0, f"3 entries in {file}\n")
    assert (await tender("audit", "export", str(file)))[0] == 1, "it never writes over a file"
    monkeypatch.setenv("TENDER_URL", "http://127.0.0.1:1")
    assert (await tender("audit", "verify", str(file)))[0] == 0
    lines = file.read_bytes().splitlines(keepends=True)
    bent = {
        "edited": [lines[0].replace(b"ann", b"eve"), *lines[1:]],
        "deleted": [lines[0], *lines[2:]],
        "reordered": [lines[1], lines[0], *lines[2:]],
        "truncated": [*lines[:2], lines[3]],
        "without its end": lines[:3],
        "cut in a line": [*lines[:2], lines[2][:40]],
        "empty": [],
        "longer": [*lines, lines[0]],
        "none": [b"hello\n"],
        "huge": [b'{"Entry": "' + b"x" * 100_000 + b'"}\n'],
    }
    for how, broken in bent.items():
        file.write_bytes(b"".join(broken))
        code, _, told = await tender("audit", "verify", str(file))
        assert (code, "error: " in told, "hint: " in told) == (1, True, True), how
    assert (await tender("audit", "verify", str(tmp_path / "missing")))[0] == 3
