"""What a supervisor hears: ready once the start is done, signs of life only while the database writes."""

import asyncio
import os
import socket

import pytest

from tests.support.scenario import until
from wire.database import Database
from wire.migration import migrate
from wire.operating.supervisor import Supervisor, Writes


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)  # noqa: FBT003  the standard library's own signature
        yield heard


def words(listener: socket.socket) -> list[str]:
    found: list[str] = []
    while True:
        try:
            found.append(listener.recv(4096).decode())
        except BlockingIOError:
            return found


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "one.db"
    migrate(path, "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;", 1)
    database = Database(path)
    database.open()
    yield database
    database.close()


def of(listener: socket.socket, seconds: float = 0.0, **more: str) -> Supervisor:
    environ = {"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": str(int(seconds * 1e6)), **more}
    made = Supervisor.from_environment(environ)
    assert not set(environ) & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}  # children do not report
    return made


def test_ready_status_and_stopping_are_one_datagram_each(listener):
    supervisor = of(listener)
    supervisor.ready("connecting")
    supervisor.status("two\nlines\rMAINPID=1")
    supervisor.stopping()
    assert words(listener) == ["READY=1\nSTATUS=connecting", "STATUS=two lines MAINPID=1", "STOPPING=1"]


def test_an_abstract_address_is_heard_too():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0tender-test-{os.getpid()}")
        Supervisor(f"@tender-test-{os.getpid()}").stopping()
        assert heard.recv(100) == b"STOPPING=1"


def test_without_a_supervisor_nothing_is_said_and_nothing_fails(tmp_path):
    Supervisor.from_environment({}).ready("")
    Supervisor(str(tmp_path / "nobody")).ready("")


def test_a_watchdog_of_another_process_is_not_ours(listener):
    assert of(listener, 9, WATCHDOG_PID=str(os.getpid())).watchdog == 9
    assert of(listener, 9, WATCHDOG_PID="1").watchdog == 0


async def test_signs_of_life_come_in_time_and_write_next_to_nothing(listener, database):
    watching = asyncio.create_task(of(listener, 0.6).watch(Writes(database)))
    heard: list[str] = []

    def enough() -> bool:
        heard.extend(words(listener))
        return len(heard) >= 5

    await until(enough)
    watching.cancel()
    assert set(heard) == {"WATCHDOG=1"}
    rows = await database.read(lambda c: c.execute("SELECT value FROM meta WHERE key = 'beat'").fetchall())
    assert [row["value"] for row in rows] == ["1"]


async def test_a_database_that_hangs_gives_no_sign_of_life(listener, database):
    stuck, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_connection):
        loop.call_soon_threadsafe(stuck.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(timeout=20)

    hanging = asyncio.create_task(database.write(hang))
    await stuck.wait()
    watching = asyncio.create_task(of(listener, 0.05).watch(Writes(database)))
    heard: list[str] = []

    def told() -> bool:
        heard.extend(words(listener))
        return bool(heard)

    await until(told)
    assert heard == ["STATUS=the database does not write"]
    go.set()
    await hanging

    def recovered() -> bool:
        heard.extend(words(listener))
        return "WATCHDOG=1" in heard

    await until(recovered)
    watching.cancel()
