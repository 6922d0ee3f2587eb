"""Streams what executions print to a hub that listens: by its leave, no more than it takes, and only while it asks."""

import asyncio
import logging
import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.executors.output import STREAMS, Output
from agent.store.records import Execution
from agent.voice import Voice
from wire.clock import monotonic
from wire.failures import Reason, TenderError
from wire.loglines import TAIL_LINES
from wire.messages import Command, Response
from wire.states import LIVE_ON_NODE, ExecutionState

log = logging.getLogger(__name__)
VERB = "logs"
CHUNK = 32 * 1024
WINDOW = 256 * 1024
"""Bytes of a stream that may be on their way before the hub says that it has them."""
LEASE = 60.0
"""Seconds after the hub's last word for which it is believed to listen."""
MOST = 32
"""Streams at once; more are refused."""
TAIL_BYTES = 1024 * 1024
GATHER, LOOK = 0.05, 0.5
"""Seconds that news of a file are gathered, and between looks at what gives no news."""
_LEVEL = re.compile(r"[a-z0-9_-]{1,64}")
_NOT_STARTED = {ExecutionState.ACCEPTED, ExecutionState.PREPARING}
_GONE = Reason("log-gone", "the output is no longer kept on the node", "it stays longer with a publisher")
_BUSY = Reason("too-many-logs", f"the node streams {MOST} outputs already", "try again when others are done")


@dataclass
class _Stream:
    """One listener's view of one execution: how far each stream was sent, and how far it was received."""

    id: str
    execution_id: str
    follow: bool
    tail: int
    seq: int = 0
    heard: float = 0.0
    lost: bool = False
    anew: bool = False
    asked: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    at: dict[str, int] = field(default_factory=dict[str, int])
    began: dict[str, int] = field(default_factory=dict[str, int])
    limit: dict[str, int] = field(default_factory=dict[str, int])
    got: dict[str, int] = field(default_factory=dict[str, int])
    flying: dict[str, deque[tuple[int, int]]] = field(default_factory=lambda: {name: deque() for name in STREAMS})

    def hear(self, command: Command) -> None:
        """What the hub has received by now; from there it goes on if something was lost."""
        self.seq, self.heard = command.seq, monotonic()
        self.got = {name: int(command.args[name]) for name in STREAMS if command.args.get(name, "").isdecimal()}
        again = self.lost or bool(command.args.get("again"))
        for name in self.at:
            got = self.got.get(name, self.began[name])  # of what it does not name, not even the first byte came
            if again:
                self.at[name] = got
                self.flying[name].clear()
            while self.flying[name] and self.flying[name][0][0] <= got:
                self.flying[name].popleft()
        self.lost, self.asked, self.anew = False, True, self.anew or again
        self.wake.set()

    def room(self, name: str) -> int:
        return WINDOW - sum(size for _, size in self.flying[name])

    def end(self) -> dict[str, str]:
        """The last word: how far each stream was sent, so that the hub asks again if something of it was lost."""
        return {"end": "1", **{name: str(at) for name, at in self.at.items() if at > self.began[name]}}

    @property
    def left(self) -> float:
        """Seconds until the hub no longer counts as listening."""
        return self.heard + LEASE - monotonic()


class LogStreams:
    """All streams of this node. `known` is every execution that the node has a row of."""

    def __init__(self, root: Path, known: Mapping[str, Execution], voice: Voice, counters: Counter[str]) -> None:
        self._root, self._known, self._voice, self._counters = root, known, voice, counters
        self._streams: dict[str, tuple[_Stream, asyncio.Task[None]]] = {}

    @property
    def open(self) -> int:
        """Streams that somebody listens to."""
        return len(self._streams)

    def take(self, command: Command) -> None:
        """The hub wants a stream, has more room for it, or wants no more."""
        execution_id = command.args.get("execution_id", "")
        if not _LEVEL.fullmatch(command.id) or not _LEVEL.fullmatch(execution_id):
            self._counters["malformed"] += 1
            return
        found = self._streams.get(command.id)
        if command.args.get("close"):
            if found is not None:
                found[1].cancel()
        elif found is not None:
            if command.seq > found[0].seq:
                found[0].hear(command)
        else:
            self._begin(command, execution_id)

    def _begin(self, command: Command, execution_id: str) -> None:
        lines = command.args.get("tail", "")
        tail = min(int(lines[:6]), TAIL_LINES) if lines.isdecimal() else -1
        stream = _Stream(command.id, execution_id, bool(command.args.get("follow")), tail)
        stream.hear(command)
        refused = len(self._streams) >= MOST
        task = asyncio.create_task(self._refuse(stream, _BUSY) if refused else self._serve(stream))
        self._streams[stream.id] = stream, task
        task.add_done_callback(lambda _: self._streams.pop(stream.id, None))

    async def close(self) -> None:
        tasks = [task for _, task in self._streams.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one stream -------------------------------------------------------------------------------------

    async def _refuse(self, stream: _Stream, reason: Reason) -> None:
        try:
            await self._voice.say(Response(ep=self._voice.ep, id=stream.id, error=reason), VERB)
        except TenderError as error:
            log.info("%s was not told that its log cannot be had: %s", stream.execution_id, error)

    async def _serve(self, stream: _Stream) -> None:
        # ctypes costs memory that a node to which nobody listens need not have.
        from agent.executors.watching import FolderWatch  # noqa: PLC0415

        folder = self._root / stream.execution_id
        outputs = {name: Output(folder, name) for name in STREAMS}
        watch = FolderWatch(stream.wake)
        try:
            while stream.left > 0:
                stream.wake.clear()
                watched = watch.add(folder / "run", folder / "results")
                if not stream.lost and await self._tell(stream, outputs):
                    return
                blind = not watched or any(output.needs_asking for output in outputs.values())
                await self._pause(stream, LOOK if blind else stream.left)
        except OSError as fault:
            await self._refuse(stream, Reason("log-gone", f"the output cannot be read: {fault.strerror}"))
        finally:
            watch.close()
            for output in outputs.values():
                output.close()

    async def _pause(self, stream: _Stream, seconds: float) -> None:
        stream.asked = False
        try:
            async with asyncio.timeout(max(0.0, min(seconds, stream.left))):
                await stream.wake.wait()
        except TimeoutError:
            return
        if not stream.asked:
            await asyncio.sleep(GATHER)

    async def _tell(self, stream: _Stream, outputs: dict[str, Output]) -> bool:
        """Send what there is and what there is room for. Whether that was all that will ever be."""
        known = self._known.get(stream.execution_id)
        if known is not None and known.state in _NOT_STARTED:
            return not stream.follow and await self._end(stream)
        if known is None and not (self._root / stream.execution_id / "results" / STREAMS[0]).exists():
            await self._refuse(stream, _GONE)
            return True
        over = known is None or known.state not in LIVE_ON_NODE
        for name, output in outputs.items():
            await self._begin_at(stream, name, output)
        done = [await self._send(stream, name, outputs[name], over=over) for name in STREAMS]
        return all(done) and await self._end(stream)

    async def _begin_at(self, stream: _Stream, name: str, output: Output) -> None:
        """Open it and settle where it begins; for both streams before a byte goes out: the folder may go meanwhile."""
        if output.is_open and name in stream.at:
            return
        span = await asyncio.to_thread(output.look)
        if name not in stream.at:
            back = await asyncio.to_thread(output.back, stream.tail, TAIL_BYTES) if stream.tail >= 0 else 0
            stream.at[name] = stream.began[name] = stream.got.get(name, back)
        if not stream.follow:
            stream.limit.setdefault(name, span.total)

    async def _end(self, stream: _Stream) -> bool:
        stream.anew = False
        said = await self._say(stream, Response(ep=self._voice.ep, id=stream.id, args=stream.end()))
        return said and not stream.anew

    async def _send(self, stream: _Stream, name: str, output: Output, *, over: bool) -> bool:
        """One of the two. Whether nothing of it is left to send."""
        while (room := stream.room(name)) > 0 and not stream.lost:
            begin = stream.at[name]
            limit = stream.limit.get(name, begin + room)
            most = min(CHUNK, self._voice.chunk, room, limit - begin)
            at, data, span = await asyncio.to_thread(output.read, begin, max(0, most))
            if not data:
                return not stream.follow or span.final or over
            args = {"stream": name, "after": str(begin)}
            told = Response(ep=self._voice.ep, id=stream.id, args=args, offset=at, total=span.total, data=data)
            if not await self._say(stream, told):
                return False
            if stream.at[name] == begin:  # unless the hub has asked to begin again meanwhile
                stream.at[name] = at + len(data)
                stream.flying[name].append((at + len(data), len(data)))
        return False

    async def _say(self, stream: _Stream, message: Response) -> bool:
        """Without a link it waits for the hub's next word, which says how far it got."""
        try:
            await self._voice.say(message, VERB)
        except TenderError as error:
            log.info("the log of %s waits: %s", stream.execution_id, error)
            stream.lost = True
            return False
        return True
