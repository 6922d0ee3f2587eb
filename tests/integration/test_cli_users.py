"""`tender user` and `tender key` against the hub's real application over HTTP."""

import asyncio

import pytest
from typer.testing import CliRunner

from tests.support.hub_bench import hub_bench
from tests.support.served import served
from tui.main import app


@pytest.fixture
async def tender(tmp_path):
    """Runs a command as whom the environment names; gives exit code, stdout and stderr."""
    async with hub_bench(tmp_path / "hub") as bench, served(bench) as url:

        async def run(*words, stdin="", **environment):
            env = {"TENDER_URL": url, **environment}
            result = await asyncio.to_thread(CliRunner().invoke, app, list(words), env=env, input=stdin)
            return result.exit_code, result.stdout.strip(), result.stderr

        yield run


async def first(tender):
    code, key, told = await tender("user", "add", "root", "--may", "*", "--namespace", "*")
    assert (code, "shown this once" in told) == (0, True)
    return key


async def test_the_first_user_closes_the_hub_and_its_key_opens_it(tender):
    key = await first(tender)
    assert (await tender("user", "list"))[0] != 0
    code, listed, _ = await tender("user", "list", "--hide-header", TENDER_API_KEY=key)
    assert (code, listed.split()) == (0, ["root", "*", "*"])


async def test_a_user_gets_capabilities_and_is_removed(tender):
    key = await first(tender)
    _, theirs, _ = await tender("user", "add", "ann", TENDER_API_KEY=key)
    assert (await tender("job", "list", TENDER_API_KEY=theirs))[0] == 0
    assert (await tender("node", "list", TENDER_API_KEY=theirs))[0] != 0
    code, told, _ = await tender("user", "change", "ann", "--may", "read:node", TENDER_API_KEY=key)
    assert (code, told) == (0, "ann may read:node in default")
    assert (await tender("node", "list", TENDER_API_KEY=theirs))[0] == 0
    assert (await tender("user", "remove", "ann", TENDER_API_KEY=key))[0] == 0
    assert (await tender("node", "list", TENDER_API_KEY=theirs))[0] != 0


async def test_a_key_is_added_listed_and_revoked(tender):
    key = await first(tender)
    code, second, told = await tender(
        "key", "add", "root", "--label", "ci", "--life", "1h", "--may", "read:job", TENDER_API_KEY=key
    )
    assert code == 0
    key_id = told.split()[1]
    _, listed, _ = await tender("key", "list", TENDER_API_KEY=key)
    assert key_id in listed
    assert second not in listed
    assert (await tender("job", "list", BACALHAU_API_KEY=second))[0] == 0
    assert (await tender("user", "list", TENDER_API_KEY=second))[0] != 0
    assert (await tender("key", "revoke", key_id, TENDER_API_KEY=key))[0] == 0
    assert (await tender("job", "list", TENDER_API_KEY=second))[0] != 0


async def test_a_name_and_a_password_work_too(tender):
    key = await first(tender)
    word = "correct horse battery"
    asked = ("user", "change", "root", "--password")
    code, _, _ = await tender(*asked, stdin=f"{word}\n{word}\n", TENDER_API_KEY=key)
    assert code == 0
    right = {"TENDER_API_USERNAME": "root", "TENDER_API_PASSWORD": word}
    assert (await tender("user", "list", **right))[0] == 0
    assert (await tender("user", "list", **{**right, "TENDER_API_PASSWORD": "wrong"}))[0] != 0
