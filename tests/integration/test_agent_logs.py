"""Logs as the node streams them: nothing is lost when the end comes while a chunk is on its way, or one is lost."""

import asyncio
import shutil
from collections import Counter

import pytest

from agent.executors.base import ExitReport
from agent.executors.output import Output
from agent.executors.run_folder import RunFolder
from agent.logs import LogStreams
from agent.store.records import Execution
from agent.voice import Voice
from tests.support.hub_bench import until
from tests.support.orders import order_of
from wire import messages as m
from wire.resources import Resources
from wire.signing import Signer
from wire.states import Desired
from wire.states import ExecutionState as E
from wire.topics import Topics

X = "e-1"


class Told(Voice):
    """What the node says; `meanwhile` happens while the first chunk is on its way to the broker."""

    def __init__(self) -> None:
        super().__init__(topics=Topics("tender"), node_id="n-1", signer=Signer(bytes(32)))
        self.said: list[m.Response] = []
        self.meanwhile = lambda: None

    async def say(self, message: m.Message, item: str = "") -> None:
        assert (type(message), item) == (m.Response, "logs")
        self.said.append(message)
        await asyncio.sleep(0)
        if len(self.said) == 1:
            self.meanwhile()

    def text(self, stream: str) -> bytes:
        return b"".join(one.data for one in self.said if one.args.get("stream") == stream)

    @property
    def last(self) -> m.Response | None:
        return self.said[-1] if self.said and (self.said[-1].error or self.said[-1].args.get("end")) else None


class Box:
    """A node with one execution that runs and has printed."""

    def __init__(self, root) -> None:
        self.root, self.voice, self.counters = root, Told(), Counter()
        order = order_of(X)
        status = m.ExecutionStatus(id=X, ver=3, state=E.RUNNING)
        self.known = {
            X: Execution(
                id=X, ver=3, state=E.RUNNING, desired=Desired.RUN, desired_ver=1, order=order,
                requested=Resources(), status=status,
            )
        }  # fmt: skip
        self.run = RunFolder(root / X)
        self.run.prepare()
        self.streams = LogStreams(root, self.known, self.voice, self.counters)

    def print(self, **streams: str) -> None:
        for name, text in streams.items():
            with (self.run.results / name).open("a") as file:
                file.write(text)

    def forget(self) -> None:
        """It ended, the hub has all that it needs to know, and the folder is freed."""
        self.run.write_report(ExitReport(exit_code=0))
        self.known.clear()
        shutil.rmtree(self.root / X)

    def ask(self, seq: int = 1, **args: str) -> None:
        self.streams.take(m.Command(ep=1, seq=seq, id="s-1", args={"execution_id": X, "follow": "1", **args}))


@pytest.fixture
async def box(tmp_path):
    made = Box(tmp_path)
    yield made
    await made.streams.close()


@pytest.mark.parametrize("query", [{}, {"tail": "10"}, {"stdout": "0"}])
async def test_an_execution_that_is_forgotten_while_stdout_is_on_its_way_tells_its_stderr_too(box, query):
    box.print(stdout="two\n", stderr="three\n")
    box.voice.meanwhile = box.forget
    box.ask(**query)
    end = await until(lambda: box.voice.last)
    assert (box.voice.text("stdout"), box.voice.text("stderr")) == (b"two\n", b"three\n")
    assert end.args == {"end": "1", "stdout": "4", "stderr": "6"}


async def test_output_that_is_gone_before_it_was_opened_is_never_taken_for_its_end(box):
    box.print(stdout="two\n")
    box.voice.meanwhile = box.forget  # stderr is written and freed before anybody could open it
    box.ask()
    end = await until(lambda: box.voice.last)
    assert end.error.code == "log-gone"
    with pytest.raises(FileNotFoundError):
        Output(box.root / X, "stderr").look()


async def test_a_first_chunk_that_was_lost_is_sent_again(box):
    box.print(stdout="two\n", stderr="three\n")
    box.ask()
    await until(lambda: box.voice.text("stderr"))
    box.voice.said.clear()
    box.ask(2, again="1", stdout="4")
    await until(lambda: box.voice.text("stderr"))
    assert (box.voice.text("stdout"), box.voice.text("stderr")) == (b"", b"three\n")


async def test_asked_again_while_the_end_is_on_its_way_it_is_told_again(box):
    box.print(stdout="two\n", stderr="three\n")
    box.run.write_report(ExitReport(exit_code=0))
    ends = 0

    async def say(message: m.Message, item: str = "") -> None:
        nonlocal ends
        box.voice.said.append(message)
        if message.args.get("end"):
            ends += 1
            if ends == 1:
                box.ask(2, again="1", stdout="4")

    box.voice.say = say
    box.ask()
    await until(lambda: ends == 2)
    assert (box.voice.text("stdout"), box.voice.text("stderr")) == (b"two\n", b"three\n" * 2)
