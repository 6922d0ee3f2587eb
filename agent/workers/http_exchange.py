"""One connection of the work to the proxy: one request that is passed on, or one tunnel. h11 reads and writes HTTP."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import h11

from agent.workers.http_gate import READ_CAP, Connection, Gate, Refused, Target

HEAD_CAP = 32 * 1024
HEAD_SECONDS = 30.0
IDLE_SECONDS = 300.0
"""Neither side has said anything for so long: the connection is closed."""
HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"upgrade", b"expect",
}  # fmt: skip
Headers = list[tuple[bytes, bytes]]


class Exchange:
    """The work's side of one connection. `refused` hears what was not let through."""

    def __init__(self, gate: Gate, work: Connection, refused: Callable[[Target | None, Refused], None]) -> None:
        self._gate, self._refused = gate, refused
        self._reader, self._writer = work
        self._work = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_CAP)

    async def run(self) -> None:
        """To its end; whatever either side does, this does not raise but for a cancellation."""
        upstream: Connection | None = None
        target: Target | None = None
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                request = await self._head()
            if request is None:
                return
            target, path = read_target(request)
            upstream = await self._gate.open(target)
            if target.tunnel:
                await self._tunnel(upstream)
            else:
                await self._forward(request, target, path, upstream)
        except Refused as refused:
            self._refused(target, refused)
            with contextlib.suppress(OSError, h11.LocalProtocolError, TimeoutError):
                await self._answer(refused)
        except (OSError, TimeoutError, h11.ProtocolError, ExceptionGroup):
            pass  # either side has gone, or does not speak HTTP any more
        finally:
            for writer in (self._writer, upstream[1] if upstream else None):
                if writer is not None:
                    writer.close()

    async def _head(self) -> h11.Request | None:
        try:
            event = await _next(self._work, self._reader)
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, "bad-request", str(error)[:200]) from None
        return event if isinstance(event, h11.Request) else None

    async def _answer(self, refused: Refused) -> None:
        """Says why, in words that a person finds in the program's output."""
        if self._work.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        body = f"tender: {refused.message}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        headers += [("Connection", "close"), ("X-Tender-Refused", refused.code)]
        response = h11.Response(status_code=refused.status, headers=headers, reason=refused.code.encode())
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            await _send(self._writer, self._work.send(event))

    async def _tunnel(self, upstream: Connection) -> None:
        await _send(self._writer, self._work.send(h11.Response(status_code=200, headers=[])))
        early, _ = self._work.trailing_data
        await _send(upstream[1], early)
        async with asyncio.timeout(IDLE_SECONDS) as limit:
            await _both(
                _pump(self._reader, upstream[1], limit),
                _pump(upstream[0], self._writer, limit),
            )

    async def _forward(self, request: h11.Request, target: Target, path: bytes, upstream: Connection) -> None:
        server = h11.Connection(h11.CLIENT)
        name = f"[{target.host}]" if ":" in target.host else target.host
        host = name if target.port == 80 else f"{name}:{target.port}"
        # The host that was checked, whatever the work has written: nobody is reached under another's name.
        headers = [(b"Host", host.encode()), (b"Connection", b"close"), *kept(request.headers, b"host")]
        head = h11.Request(method=request.method, target=path, headers=headers)
        await _send(upstream[1], server.send(head))
        async with asyncio.timeout(IDLE_SECONDS) as limit:
            sending = asyncio.create_task(self._send_body(server, upstream[1], limit))
            try:
                await self._bring_response(server, upstream[0], limit)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send_body(self, server: h11.Connection, up: asyncio.StreamWriter, limit: asyncio.Timeout) -> None:
        if self._work.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            await _send(self._writer, self._work.send(go_on))
        while True:
            event = await _next(self._work, self._reader)
            _more(limit)
            if isinstance(event, h11.Data):
                await _send(up, server.send(h11.Data(data=event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await _send(up, server.send(h11.EndOfMessage()))
                return
            else:
                return

    async def _bring_response(self, server: h11.Connection, up: asyncio.StreamReader, limit: asyncio.Timeout) -> None:
        while True:
            try:
                event = await _next(server, up)
            except h11.RemoteProtocolError as error:
                raise Refused(502, "bad-answer", f"the server's answer is no HTTP: {error}"[:200]) from None
            _more(limit)
            if isinstance(event, h11.Response):
                headers = [*kept(event.headers, b"transfer-encoding"), (b"Connection", b"close")]
                again = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
                await _send(self._writer, self._work.send(again))
            elif isinstance(event, h11.Data):
                await _send(self._writer, self._work.send(h11.Data(data=event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await _send(self._writer, self._work.send(h11.EndOfMessage()))
                return
            elif isinstance(event, h11.ConnectionClosed):
                return


def read_target(request: h11.Request) -> tuple[Target, bytes]:
    """Where a request goes, and its path there. Raises Refused."""
    text = request.target.decode("ascii", errors="replace")
    tunnel = request.method == b"CONNECT"
    try:
        parts = urlsplit(f"//{text}" if tunnel else text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    asked_here = not tunnel and parts.scheme.lower() != "http"
    if not host or asked_here or "@" in parts.netloc or (tunnel and (port is None or parts.path or parts.query)):
        message = f"{text[:100]} is not what a proxy is asked for: http://HOST/PATH, or CONNECT HOST:PORT"
        raise Refused(400, "bad-target", message)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host.rstrip("."), port or 80, tunnel), path.encode("ascii")


def kept(headers: Any, *dropped: bytes) -> Headers:
    """All headers but those that are for the next hop only, and those that `Connection` names as such."""
    pairs: Headers = [(bytes(name), bytes(value)) for name, value in headers]
    named = {part.strip().lower() for name, value in pairs if name == b"connection" for part in value.split(b",")}
    gone = HOP_BY_HOP | named | set(dropped)
    return [(name, value) for name, value in pairs if name not in gone]


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(READ_CAP))
    return event


async def _send(writer: asyncio.StreamWriter, data: bytes | None) -> None:
    if data:
        writer.write(data)
        await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: asyncio.Timeout) -> None:
    while data := await reader.read(READ_CAP):
        _more(limit)
        await _send(writer, data)
    if writer.can_write_eof():
        writer.write_eof()


def _more(limit: asyncio.Timeout) -> None:
    """Something came: the patience begins anew."""
    limit.reschedule(asyncio.get_running_loop().time() + IDLE_SECONDS)


async def _both(*pumps: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for pump in pumps:
            group.create_task(pump)
