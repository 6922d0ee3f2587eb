"""`tender webhook` against the hub's real application over HTTP, and a real receiver."""

import asyncio

import pytest
from typer.testing import CliRunner

from tests.support.hookserver import hook_server, plain
from tests.support.hub_process import wasm_job
from tests.support.receivers import teller, told, verified
from tests.support.served import served
from tui.main import app


@pytest.fixture
async def hub(tmp_path):
    async with teller(tmp_path / "hub") as made:
        yield made


@pytest.fixture
async def tender(hub):
    """Runs a command; gives exit code, stdout and stderr."""
    async with served(hub.bench) as url:

        async def run(*words):
            env = {"TENDER_URL": url, "COLUMNS": "200"}
            result = await asyncio.to_thread(CliRunner().invoke, app, ["webhook", *words], env=env)
            return result.exit_code, result.stdout.strip(), result.stderr or str(result.exception or "")

        yield run


async def test_the_life_of_a_webhook(tender, hub):
    async with hook_server() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/a?b=c"
        code, secret, note = await tender("add", url, "--state", "completed", "--type", "batch", "-l", "team=red")
        assert (code, "shown this once" in note) == (0, True)
        name = note.split()[1]
        code, listed, _ = await tender("list", "--hide-header")
        assert code == 0
        assert listed.split()[-2:] == ["active", "0"]
        for word in (name[:10], "default", "/a?…", "completed batch team=red"):
            assert word in listed
        assert await tender("test", name) == (0, "delivered: the receiver answered 200", "")
        assert verified(secret, told(receiver)[0])["type"] == "webhook.test"
        await hub.bench.node("north")
        job_id = await hub.job(wasm_job(Labels={"team": "red"}))
        await hub.ends(name, 2)
        code, listed, _ = await tender("deliveries", name[:12], "--hide-header")
        rows = [line.split() for line in listed.splitlines()]
        assert [row[2:6] for row in rows if row[2] == "job.completed"] == [
            ["job.completed", job_id, "delivered", "1"],
        ]  # fmt: skip
        code, newer, note = await tender("rotate", name, "--overlap", "1h")
        assert (code, newer != secret, "good for 1h" in note) == (0, True, True)
        assert (await tender("pause", name))[1].startswith(f"{name} is paused")
        assert (await tender("resume", name))[1].startswith(f"{name} is active")
        assert (await tender("remove", name))[1] == f"{name} is removed"
        assert (await tender("list", "--hide-header"))[1] == ""


async def test_a_test_that_is_not_taken_says_why_and_fails(tender):
    async with hook_server() as receiver:
        receiver.script = plain("302 Found", b"", "Location: http://elsewhere.example/")
        _, _, note = await tender("add", f"http://127.0.0.1:{receiver.port}/")
        code, said, told_why = await tender("test", note.split()[1])
    assert (code, said) == (1, "")
    assert "answered 302; redirects are not followed" in told_why


async def test_what_cannot_be_added_says_why(tender):
    code, said, why = await tender("add", "https://10.0.0.1/")
    assert (code != 0, said) == (True, "")
    assert "not public" in why
    assert (await tender("test", "w-none"))[0] != 0
