"""Logs over a WebSocket, in Bacalhau's frames: follow, tail, one execution or all."""

import asyncio
import codecs
import contextlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath

from hub.access.staying import until_ended
from hub.api.bodies import check_page
from hub.api.connections import client_of
from hub.api.gate import caller_of
from hub.api.paging import is_true
from hub.logs.jobs import Line
from hub.logs.outputs import Note, Wanted
from hub.parts import Hub
from hub.store import jobs as jobs_store
from hub.store import search
from hub.store.records import JobRecord
from wire.database import Connection
from wire.failures import InvalidRequest, TenderError, Unauthorized
from wire.loglines import TAIL_DEFAULT, TAIL_LINES

LINE = 4096
"""Characters of one frame: less than 32 KiB however they are escaped, which every WebSocket client takes."""
MOST_STARTS = 500
TYPES = {"stdout": 1, "stderr": 2}
Socket = WebSocket[Any, Any, Any]


@websocket("/api/v1/orchestrator/jobs/{name:str}/logs")
async def logs(socket: Socket, name: FromPath[str]) -> None:
    """What a job printed. Errors come as a frame, because clients expect the upgrade to succeed."""
    await socket.accept()
    hub: Hub = socket.app.state.hub
    try:
        gone = asyncio.create_task(_gone(socket))
        serve = asyncio.create_task(_serve(socket, hub, name))
        ended = asyncio.create_task(until_ended(hub.users, caller_of(socket)))
        tasks = (gone, serve, ended)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if serve in done and not serve.cancelled() and (error := serve.exception()) is not None:
            raise error
        if gone in done:
            return
        if ended in done:
            raise Unauthorized("what you came with has ended or changed", hint="sign in again and listen anew")
    except TenderError as error:
        text = "; ".join(filter(None, (error.message, error.hint)))
        code = {"code": error.code} if is_true(socket.query_params.get("all", "")) else {}
        await _send(socket, hub, {"error": text, "value": {"Type": 0, "Line": ""}, **code})
    except (TimeoutError, WebSocketDisconnect):
        hub.listeners.dropped += 1
    with contextlib.suppress(TimeoutError, WebSocketDisconnect):
        async with asyncio.timeout(hub.listeners.take_within):
            await socket.close(1000)


async def _gone(socket: Socket) -> None:
    """Until the client leaves. What it says is not read: there is nothing to say."""
    while True:
        if (await socket.receive())["type"] == "websocket.disconnect":
            return


async def _serve(socket: Socket, hub: Hub, name: str) -> None:
    check_page(socket)
    with hub.listeners.enter(client_of(socket)):
        job = await _job(socket, hub, name, socket.query_params.get("namespace", "") or "default")
        query = socket.query_params
        wanted = Wanted(is_true(query.get("follow", "")), _tail(query.get("tail", "")))
        everything = is_true(query.get("all", ""))
        starts, execution_id = _starts(query.get("after", "")), query.get("execution_id", "")
        if everything and not execution_id:
            lines = hub.joblogs.all(job, wanted, starts)
        else:
            lines = hub.joblogs.one(job, execution_id, wanted, starts)
        async with aclosing(lines), aclosing(_frames(lines, details=everything)) as frames:
            async for frame in frames:
                await _send(socket, hub, frame)


async def _send(socket: Socket, hub: Hub, frame: dict[str, Any]) -> None:
    """Send one frame. Raises TimeoutError for a client that does not take it."""
    async with asyncio.timeout(hub.listeners.take_within):
        await socket.send_text(msgspec.json.encode(frame).decode() + "\n")


async def _job(socket: Socket, hub: Hub, name: str, namespace: str) -> JobRecord:
    def read(connection: Connection) -> JobRecord:
        return jobs_store.job_by_id(connection, search.find_job(connection, name, namespace, only))

    only = caller_of(socket).only
    return await hub.database.read(read)


def _tail(text: str) -> int:
    """How many lines from the end; -1 for all. Bacalhau says true, which means the last few."""
    if not text or text.lower() in {"false", "0", "no"}:
        return -1
    if is_true(text) and text != "1":
        return TAIL_DEFAULT
    if text.isascii() and text.isdigit() and int(text[:8]) <= TAIL_LINES:
        return int(text)
    details = {"Field": "tail", "Value": text[:50]}
    raise InvalidRequest(
        f"tail is {text[:50]!r}, not true, false or a number of lines up to {TAIL_LINES}",
        hint="leave it out for all lines",
        details=details,
    )


def _starts(text: str) -> dict[str, dict[str, int]]:
    """`EXECUTION:stdout:stderr,…`: bytes of each stream that the listener has already."""
    found: dict[str, dict[str, int]] = {}
    for part in text.split(",")[: MOST_STARTS + 1] if text else []:
        execution_id, _, numbers = part.partition(":")
        out, _, err = numbers.partition(":")
        if not (out.isdecimal() and err.isdecimal() and len(numbers) < 40) or len(found) == MOST_STARTS:
            details = {"Field": "after", "Value": part[:100]}
            hint = f"EXECUTION:BYTES:BYTES, comma between, at most {MOST_STARTS}"
            raise InvalidRequest(f"after is not understood: {part[:100]!r}", hint=hint, details=details)
        found[execution_id] = {"stdout": int(out), "stderr": int(err)}
    return found


async def _frames(lines: AsyncGenerator[Line], *, details: bool) -> AsyncGenerator[dict[str, Any]]:
    """Bytes as text, whole characters only, in frames of bounded size."""
    decoders: dict[tuple[str, str], codecs.IncrementalDecoder] = {}
    async for line in lines:
        execution = line.execution
        more: dict[str, Any] = {}
        if details and execution is not None:
            more = {"execution": execution.id, "node": execution.node_id, "slot": execution.slot}
        said = line.said
        if isinstance(said, Note):
            yield {"value": {"Type": 0, "Line": ""}, **more, "note": said.text}
            continue
        key = (execution.id if execution else "", said.stream)
        decoder = decoders.setdefault(key, codecs.getincrementaldecoder("utf-8")("replace"))
        text = f"\n[... {said.left_out} bytes left out ...]\n" if said.left_out else ""
        texts = list(_cut(text + decoder.decode(said.data)))
        for number, part in enumerate(texts, start=1):
            last = {"stream": said.stream, "after": said.at + len(said.data)} if number == len(texts) else {}
            yield {"value": {"Type": TYPES[said.stream], "Line": part}, **more, **(last if details else {})}


def _cut(text: str) -> Iterator[str]:
    """Parts of bounded length, cut behind a line end where there is one."""
    at = 0
    while at < len(text):
        end = at + LINE
        if end < len(text):
            line_end = text.rfind("\n", at, end) + 1
            end = line_end if line_end > at else end
        yield text[at:end]
        at = end
