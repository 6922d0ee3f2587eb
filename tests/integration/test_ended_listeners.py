"""Event streams and logs that are open end with what their listener came with: key, password, user, rights."""

import asyncio
import contextlib
import json

import httpx
import msgspec
import pytest

from tests.support.hub_bench import E, until
from tests.support.hub_process import wasm_job
from tests.support.listening import listening
from tests.support.people import People, basic
from wire import clock

PASSWORD = "correct horse battery"


@pytest.fixture
async def people(bench):
    made = People(bench)
    await made.add("root", ["*"], ["*"])
    await made.add("ann", ["read:job"], ["default", "lab"], PASSWORD)
    return made


class Stream:
    """An open event stream; `text` is what came, `over` is set when the hub ended it."""

    def __init__(self, answer):
        self._answer, self.text, self.over = answer, "", asyncio.Event()

    async def read(self):
        async for part in self._answer.aiter_text():
            self.text += part
        self.over.set()


@contextlib.asynccontextmanager
async def stream(url, key="", headers=None):
    headers = headers or ({"Authorization": f"Bearer {key}"} if key else {})
    async with (
        httpx.AsyncClient(base_url=url, timeout=30, headers=headers) as client,
        client.stream("GET", "/api/v1/events") as answer,
    ):
        assert answer.status_code == 200
        made = Stream(answer)
        reading = asyncio.create_task(made.read())
        await until(lambda: made.text)
        yield made
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def expires(people, record):
    """The key ends soon; those who came with it look again as at any change."""
    users = people.bench.hub.users
    users.keys[record.id] = msgspec.structs.replace(record, expires=clock.unix_ns() + 300 * 10**6)
    await users.change(users.find("root"))


async def ended(one):
    async with asyncio.timeout(30):  # a key is looked at each minute anyway
        await one.over.wait()


async def test_a_stream_ends_when_its_key_is_revoked_and_others_go_on(bench, url, people):
    key, record = await people.key("ann")
    async with stream(url, key) as theirs, stream(url, people.keys["ann"]) as other:
        await bench.hub.users.revoke(record.id)
        await ended(theirs)
        job_id = await bench.submit(wasm_job(), key=people.keys["root"])
        await until(lambda: job_id in other.text)
        assert not other.over.is_set()
        assert job_id not in theirs.text
    await until(lambda: not bench.hub.listeners.count)


async def test_a_stream_ends_when_its_key_expires(url, people):
    key, record = await people.key("ann", life=3600)
    async with stream(url, key) as theirs:
        await expires(people, record)
        await ended(theirs)


async def test_streams_end_when_their_user_is_removed(bench, url, people):
    async with stream(url, people.keys["ann"]) as one, stream(url, headers=basic("ann", PASSWORD)) as two:
        await bench.hub.users.remove("ann")
        await ended(one)
        await ended(two)


async def test_a_stream_by_password_ends_with_the_password_and_one_by_key_goes_on(bench, url, people):
    async with stream(url, headers=basic("ann", PASSWORD)) as by_password, stream(url, people.keys["ann"]) as by_key:
        await bench.hub.users.change(bench.hub.users.find("ann"), "another good password")
        await ended(by_password)
        assert not by_key.over.is_set()


@pytest.mark.parametrize("change", [{"Namespaces": ["lab"]}, {"Capabilities": ["read:node"]}])
async def test_a_stream_ends_when_the_rights_of_its_user_change(url, people, change):
    async with stream(url, people.keys["ann"]) as theirs, stream(url, people.keys["root"]) as other:
        answer = await people.ask("root", "PUT", "/api/v1/users/ann", json=change)
        assert answer.status_code == 200
        await ended(theirs)
        assert not other.over.is_set()


async def test_what_does_not_touch_rights_ends_no_stream(bench, url, people):
    async with stream(url, people.keys["ann"]) as theirs:
        await people.ask("root", "PUT", "/api/v1/users/ann", json={"Rate": 50})
        await people.add("eve", ["read:job"], ["default"])
        await people.key("ann")
        job_id = await bench.submit(wasm_job(), key=people.keys["root"])
        await until(lambda: job_id in theirs.text)
        assert not theirs.over.is_set()


async def test_streams_of_an_open_hub_end_when_it_gets_its_first_user(bench, url):
    async with stream(url) as anybodys:
        await People(bench).add("root", ["*"], ["*"])
        await ended(anybodys)


async def running(bench, key):
    """The id of a job that runs and prints nothing."""
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job(), key=key)
    await until(lambda: node.orders and node.versions.get(node.orders[-1].execution_id) == 2)
    return job_id


@pytest.mark.parametrize("how", ["revoked", "expired", "removed"])
async def test_logs_that_are_followed_end_with_a_word_on_why(bench, url, people, how):
    job_id = await running(bench, people.keys["root"])
    key, record = await people.key("ann", life=3600)
    async with (
        listening(url, job_id, key, follow=True) as theirs,
        listening(url, job_id, people.keys["root"], follow=True) as other,
    ):
        await until(lambda: bench.hub.listeners.count == 2)
        if how == "revoked":
            await bench.hub.users.revoke(record.id)
        elif how == "removed":
            await bench.hub.users.remove("ann")
        else:
            await expires(people, record)
        async with asyncio.timeout(30):
            await theirs.rest()
        assert "has ended or changed" in theirs.error
        assert json.dumps(theirs.frames).count("error") == 1
        await until(lambda: bench.hub.listeners.count == 1)
        assert other.error == ""
    await until(lambda: not bench.hub.listeners.count)
