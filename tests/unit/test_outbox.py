"""The outbox: important lanes first, sent once while the link holds, again after a new one, until acknowledged."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from tests.fault.sim.world import simulation
from wire.failures import Unavailable
from wire.messages import Row
from wire.outbox import RESEND_AFTER, RESEND_AWAY, Outbox
from wire.packets import PublishRefused


class Lanes:
    """Rows in memory behind the protocol that stores implement."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {"status": [], "event": []}

    def add(self, lane: str, count: int = 1, size: int = 10) -> None:
        for _ in range(count):
            number = len(self.rows[lane]) + 1
            self.rows[lane].append(Row(number, msgspec.Raw(b'"' + b"x" * size + b'"')))

    async def pending(self, lane: str, after: int, *, rows: int, size: int) -> list[Row]:
        taken: list[Row] = []
        for row in self.rows[lane][after:]:
            if taken and (len(taken) >= rows or sum(len(bytes(r.body)) for r in taken) + len(bytes(row.body)) > size):
                break
            taken.append(row)
        return taken


class Wire:
    """Notes what was sent; raises while `broken`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[int]]] = []
        self.broken = False
        self.happened = asyncio.Event()

    async def send(self, lane: str, rows: list[Row]) -> None:
        self.happened.set()
        if self.broken:
            raise Unavailable("down")
        self.sent.append((lane, [row.o for row in rows]))

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.sent) < count:
                self.happened.clear()
                await self.happened.wait()


@pytest.fixture
async def parts():
    lanes, wire, connected = Lanes(), Wire(), asyncio.Event()
    outbox = Outbox(lanes, wire.send, ["status", "event"])
    task = asyncio.create_task(outbox.run(connected))
    yield lanes, wire, outbox, connected
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_nothing_is_sent_before_the_link_is_up_and_status_goes_before_events(parts):
    lanes, wire, outbox, connected = parts
    lanes.add("event", 2)
    lanes.add("status", 3)
    outbox.wake()
    await asyncio.sleep(0)
    assert wire.sent == []
    connected.set()
    await wire.reach(2)
    assert wire.sent == [("status", [1, 2, 3]), ("event", [1, 2])]


async def test_rows_are_sent_once_while_the_link_holds(parts):
    lanes, wire, outbox, connected = parts
    connected.set()
    lanes.add("status")
    outbox.wake()
    await wire.reach(1)
    lanes.add("status")
    outbox.wake()
    await wire.reach(2)
    assert wire.sent == [("status", [1]), ("status", [2])]


async def test_after_a_reconnect_everything_unacknowledged_is_sent_again(parts):
    lanes, wire, outbox, connected = parts
    connected.set()
    lanes.add("status", 3)
    outbox.wake()
    await wire.reach(1)
    outbox.acked({"status": 2})
    outbox.reconnected()
    await wire.reach(2)
    assert wire.sent[1] == ("status", [3])


async def test_a_hub_that_lost_rows_gets_them_again(parts):
    lanes, wire, outbox, connected = parts
    connected.set()
    lanes.add("status", 3)
    outbox.wake()
    await wire.reach(1)
    outbox.acked({"status": 3})
    outbox.acked({"status": 1}, rewind=True)
    await wire.reach(2)
    assert wire.sent[1] == ("status", [2, 3])


async def test_an_old_acknowledgement_takes_nothing_back(parts):
    lanes, wire, outbox, connected = parts
    connected.set()
    lanes.add("status", 3)
    outbox.wake()
    await wire.reach(1)
    outbox.acked({"status": 3})
    outbox.acked({"status": 1})
    outbox.reconnected()
    lanes.add("status")
    outbox.wake()
    await wire.reach(2)
    assert wire.sent[1] == ("status", [4])


async def test_batches_stay_below_the_cap_of_a_message(parts):
    lanes, wire, outbox, connected = parts
    lanes.add("status", 8, size=10_000)
    connected.set()
    outbox.wake()
    await wire.reach(3)
    assert [len(numbers) for _, numbers in wire.sent] == [3, 3, 2]


async def test_a_failed_send_is_tried_again(parts):
    lanes, wire, outbox, connected = parts
    wire.broken = True
    lanes.add("status")
    connected.set()
    outbox.wake()
    await wire.happened.wait()
    wire.broken = False
    outbox.wake()
    await wire.reach(1)
    assert wire.sent == [("status", [1])]


class SlowWire:
    """A link on which each batch is on its way until it lands or is lost."""

    def __init__(self) -> None:
        self.flights: list[tuple[list[int], asyncio.Future[None]]] = []

    async def send(self, _lane: str, rows: list[Row]) -> None:
        landed = asyncio.get_running_loop().create_future()
        self.flights.append(([row.o for row in rows], landed))
        await landed

    @property
    def numbers(self) -> list[list[int]]:
        return [numbers for numbers, _ in self.flights]


def told(room: int, play: Callable[[Lanes, SlowWire, Outbox], Awaitable[None]]) -> None:
    """Play with an outbox over a slow link with so much room, in virtual time."""
    lanes, wire = Lanes(), SlowWire()

    async def story() -> None:
        connected = asyncio.Event()
        connected.set()
        outbox = Outbox(lanes, wire.send, ["status", "event"], room=lambda: room)
        task = asyncio.create_task(outbox.run(connected))
        await play(lanes, wire, outbox)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with simulation(1, nodes=0) as world:
        world.loop.run(story())


@pytest.mark.parametrize(("room", "together"), [(96 * 1024, 3), (30 * 1024, 1), (4 * 1024, 1)])
def test_as_many_batches_are_on_their_way_as_the_link_carries_in_a_moment(room, together):
    async def play(lanes: Lanes, wire: SlowWire, outbox: Outbox) -> None:
        lanes.add("status", 40, size=4000)
        outbox.wake()
        await asyncio.sleep(1)
        assert len(wire.flights) == together
        wire.flights[0][1].set_result(None)
        await asyncio.sleep(1)
        assert len(wire.flights) == together + 1
        sent = [number for numbers in wire.numbers for number in numbers]
        assert sent == list(range(1, len(sent) + 1))

    told(room, play)


def test_when_one_of_several_batches_is_lost_all_from_there_on_are_sent_again():
    async def play(lanes: Lanes, wire: SlowWire, outbox: Outbox) -> None:
        lanes.add("status", 9, size=9000)
        outbox.wake()
        await asyncio.sleep(1)
        assert wire.numbers == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
        (_, first), (_, second), (_, third) = wire.flights
        first.set_result(None)
        second.set_exception(Unavailable("down"))
        await asyncio.sleep(5)
        assert len(wire.flights) == 3, "what is on its way is waited for"
        third.set_result(None)
        await asyncio.sleep(5)
        assert wire.numbers[3:] == [[4, 5, 6], [7, 8, 9]]

    told(96 * 1024, play)


def test_a_hub_that_lost_rows_gets_them_again_also_while_more_are_on_their_way():
    async def play(lanes: Lanes, wire: SlowWire, outbox: Outbox) -> None:
        lanes.add("status", 6, size=9000)
        outbox.wake()
        await asyncio.sleep(1)
        wire.flights[0][1].set_result(None)
        outbox.acked({"status": 3})
        outbox.acked({"status": 1}, rewind=True)
        wire.flights[1][1].set_result(None)
        await asyncio.sleep(1)
        assert wire.numbers[2:] == [[2, 3, 4], [5, 6]]

    told(96 * 1024, play)


async def test_a_gap_is_closed_though_new_rows_keep_coming(parts):
    lanes, wire, _, connected = parts
    outbox = Outbox(lanes, wire.send, ["status", "event"], resend_after=lambda: 0.2)
    task = asyncio.create_task(outbox.run(connected))
    connected.set()
    lanes.add("status", 2)
    outbox.wake()
    await wire.reach(1)
    outbox.acked({"status": 1})
    async with asyncio.timeout(60):
        while not any(numbers[0] == 2 for _, numbers in wire.sent):
            lanes.add("status")
            outbox.wake()
            await wire.reach(len(wire.sent) + 1)
            outbox.acked({"status": 1}, rewind=True)
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_what_the_broker_refuses_is_tried_ever_more_seldom():
    lanes, tries, connected = Lanes(), list[int](), asyncio.Event()
    lanes.add("status")

    async def refuse(_lane: str, rows: list[Row]) -> None:
        tries.append(rows[-1].o)
        raise PublishRefused("not authorized")

    async def a_day() -> None:
        connected.set()
        task = asyncio.create_task(Outbox(lanes, refuse, ["status"]).run(connected))
        await asyncio.sleep(86_400)
        task.cancel()

    with simulation(1, nodes=0) as world:
        world.loop.run(a_day())
    assert 200 < len(tries) < 1500


def test_while_the_hub_is_known_to_be_away_reports_are_hardly_repeated_and_at_once_when_it_is_back():
    lanes, sent, connected, patience = Lanes(), list[int](), asyncio.Event(), [RESEND_AFTER]
    lanes.add("status")

    async def send(_lane: str, rows: list[Row]) -> None:
        sent.append(rows[-1].o)

    async def an_outage() -> None:
        connected.set()
        outbox = Outbox(lanes, send, ["status"], resend_after=lambda: patience[0])
        task = asyncio.create_task(outbox.run(connected))
        await asyncio.sleep(1)
        patience[0] = RESEND_AWAY
        outbox.wake()
        await asyncio.sleep(3600)
        assert 1 < len(sent) <= 7
        await asyncio.sleep(60)
        before, patience[0] = len(sent), RESEND_AFTER
        outbox.wake()
        await asyncio.sleep(1)
        assert len(sent) == before + 1
        task.cancel()

    with simulation(1, nodes=0) as world:
        world.loop.run(an_outage())
