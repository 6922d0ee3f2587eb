"""Server-sent events: what happens to jobs, as it is committed, from any number on."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.openapi.spec import Example
from litestar.params import FromQuery, HeaderParameter, QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from hub.access.callers import NOBODY, Caller
from hub.access.staying import until_ended
from hub.api import shapes
from hub.api.bodies import Req, check_page
from hub.api.connections import client_of
from hub.api.gate import caller_of
from hub.api.jobs import find_job
from hub.api.paging import seconds_of
from hub.parts import Hub
from hub.store import search
from hub.store.search import Told
from wire.failures import InvalidRequest, at

BEAT = 15.0
"""Seconds without an event after which a comment shows that the connection lives."""
RETRY = 2000
"""Milliseconds after which a client should connect again."""
TYPES = {"": None, "all": None, "job": False, "execution": True}
ANY_NAMESPACE = {"", "*"}


@dataclass(frozen=True)
class Filter:
    """Which events are told. `execution`: only those of executions, or only those of jobs."""

    job_id: str = ""
    execution: bool | None = None
    topics: frozenset[str] = frozenset()
    namespace: str = ""
    listener: Caller = NOBODY

    def fits(self, told: Told) -> bool:
        event = told.event
        return (
            (self.execution is None or self.execution is bool(event.execution_id))
            and (not self.topics or event.topic.lower() in self.topics)
            and self.namespace in {"", told.namespace}
            and self.listener.sees(told.namespace)
        )


class EventStream(ASGIResponse):
    """The answer that does not end. Nothing is queued for a client: it is sent the next event when it took the last."""

    def __init__(self, hub: Hub, client: str, chosen: Filter, after: int | None, seconds: float | None) -> None:
        super().__init__(media_type="text/event-stream", status_code=200, headers={"Cache-Control": "no-store"})
        self._hub, self._client, self._chosen, self._after = hub, client, chosen, after
        self._seconds = seconds
        self.headers.pop("content-length", None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        with self._hub.listeners.enter(self._client):
            async with self._hub.feed.listen() as head:  # what happens once the client has its answer is told
                await self._answer(head, receive, send)

    async def _answer(self, head: int, receive: Receive, send: Send) -> None:
        await self.start_response(send)
        work = asyncio.create_task(self._tell(send, head))
        gone = asyncio.create_task(_gone(receive))
        ended = asyncio.create_task(until_ended(self._hub.users, self._chosen.listener))
        tasks = (work, gone, ended)
        try:
            await asyncio.wait(tasks, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            _, leaving, _ = await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(leaving, asyncio.CancelledError):
            await self._send(send, b"", more=False)

    async def _tell(self, send: Send, head: int) -> None:
        try:
            async with contextlib.aclosing(self._events(head)) as events:
                async for text in events:
                    await self._send(send, text.encode())
        except TimeoutError:
            self._hub.listeners.dropped += 1

    async def _send(self, send: Send, data: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(self._hub.listeners.take_within):
            await send({"type": "http.response.body", "body": data, "more_body": more})

    async def _events(self, head: int) -> AsyncGenerator[str]:
        seq = head if self._after is None else self._after
        yield f"retry: {RETRY}\n: from {min(seq, head)} on\n\n"
        if seq > head:
            # The client knows more than this database: it was set back, and what the client has may be wrong.
            seq = head
            yield f"id: {seq}\nevent: reset\ndata: {{}}\n\n"
        elif (gone := await self._hub.database.read(search.last_gone)) > seq:
            # Retention or a purge has removed some of what the client has not seen.
            yield f'id: {seq}\nevent: gap\ndata: {{"After":{seq},"Through":{gone}}}\n\n'
        while True:
            try:
                async with asyncio.timeout(BEAT):
                    found, seq = await self._hub.feed.after(seq, self._chosen.job_id)
            except TimeoutError:
                yield f"id: {seq}\n: beat\n\n"
                continue
            text = "".join(_shaped(told) for told in found if self._chosen.fits(told))
            if text:
                yield text


def _shaped(told: Told) -> str:
    body: dict[str, Any] = {**shapes.event(told.event), "Namespace": told.namespace}
    kind = "execution" if told.event.execution_id else "job"
    return f"id: {told.event.seq}\nevent: {kind}\ndata: {msgspec.json.encode(body).decode()}\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


LastEventId = Annotated[str, HeaderParameter(name="Last-Event-ID", description="The last number that came.")]


@get("/api/v1/events", tags=["events"], media_type="text/event-stream")
async def events(
    request: Req,
    job: FromQuery[str] = "",
    namespace: FromQuery[str] = "",
    event_type: Annotated[str, QueryParameter(name="type", description="job, execution or all")] = "",
    topic: Annotated[str, QueryParameter(description="Topics of the history, with comma between.")] = "",
    after: Annotated[str, QueryParameter(description="As Last-Event-ID; 0 is from the beginning.")] = "",
    duration: Annotated[
        str, QueryParameter(description="End the stream after so long.", examples=[Example(value="30s")])
    ] = "",
    last_event_id: LastEventId = "",
) -> EventStream:
    """What happens to jobs and executions, as server-sent events. Without a number: from now on."""
    check_page(request)
    hub: Hub = request.app.state.hub
    if event_type.lower() not in TYPES:
        raise InvalidRequest(
            f"no events of type {event_type[:50]!r}", hint="one of: all, job, execution", details=at("type", event_type)
        )
    space, caller = "" if namespace in ANY_NAMESPACE else namespace, caller_of(request)
    if space:
        caller.check_namespace(space)
    job_id = ""
    if job:
        job_id = (await find_job(request, job, space)).id
    topics = frozenset(word.strip().lower() for word in topic[:1000].split(",") if word.strip())
    chosen = Filter(job_id, TYPES[event_type.lower()], topics, "" if job else space, caller)
    number = _number(last_event_id or after)
    return EventStream(hub, client_of(request), chosen, number, seconds_of("duration", duration) if duration else None)


def _number(text: str) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    details = {"Field": "Last-Event-ID", "Value": text[:50]}
    raise InvalidRequest(f"not the number of an event: {text[:50]!r}", hint="as it came in an id", details=details)
