"""A client of the hub's logs, as Bacalhau's is one: a plain WebSocket that reads frames until the hub closes it."""

import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncGenerator
from typing import Any, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedOK

TYPES = {1: "stdout", 2: "stderr"}


class Listener:
    """Reads frames. `texts` is what came by execution and stream; without details the execution is ''."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []
        self.parts: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.notes: list[str] = []
        self.error = ""

    @property
    def texts(self) -> dict[tuple[str, str], str]:
        return {key: "".join(parts) for key, parts in self.parts.items()}

    @property
    def out(self) -> str:
        return self._of("stdout")

    @property
    def err(self) -> str:
        return self._of("stderr")

    def _of(self, name: str) -> str:
        return "".join(text for (_, stream), text in self.texts.items() if stream == name)

    async def frame(self) -> dict[str, Any] | None:
        """The next frame; None when the hub closed the connection in the ordinary way."""
        try:
            text = await self.socket.recv()
        except ConnectionClosedOK:
            return None
        assert isinstance(text, str)
        assert text.endswith("\n")
        frame: dict[str, Any] = json.loads(text)
        self.frames.append(frame)
        value = frame["value"]
        if value["Line"]:
            self.parts[frame.get("execution", ""), TYPES[value["Type"]]].append(value["Line"])
        self.notes += [frame["note"]] if "note" in frame else []
        self.error = frame.get("error", self.error)
        return frame

    async def until(self, text: str) -> Self:
        """Read on until this was printed."""
        recent = self.out
        while text not in recent:
            frame = await self.frame()
            assert frame is not None, f"closed before {text!r}: {self.out[-500:]!r} {self.error}"
            recent = recent[-len(text) :] + frame["value"]["Line"]
        return self

    async def rest(self) -> Self:
        """Read to the end."""
        while await self.frame() is not None:
            pass
        return self


@contextlib.asynccontextmanager
async def listening(url: str, job: str, key: str = "", **query: Any) -> AsyncGenerator[Listener]:
    """Listen to a job; `url` is the hub's, `key` an API key."""
    asked = urlencode({key: str(value).lower() if value is True else value for key, value in query.items()})
    place = f"{url.replace('http', 'ws', 1)}/api/v1/orchestrator/jobs/{job}/logs?{asked}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with connect(place, compression=None, proxy=None, additional_headers=headers) as socket:
        yield Listener(socket)
