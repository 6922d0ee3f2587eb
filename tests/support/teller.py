"""A scripted node that tells what its executions printed, piece by piece, as a test wants it told."""

from tests.support.hub_bench import BenchNode, until
from wire import messages as m
from wire.failures import Reason
from wire.topics import Channel


class Teller:
    """Commands of the hub for logs, and answers to them."""

    def __init__(self, node: BenchNode) -> None:
        self._node = node

    @property
    def asked(self) -> list[m.Command]:
        """All requests for logs that this node got."""
        said = self._node.bench.link.said
        mine = [message for address, message in said if (address.owner, address.item) == (self._node.id, "logs")]
        return [message for message in mine if isinstance(message, m.Command)]

    @property
    def open(self) -> list[m.Command]:
        return [one for one in self.asked if "close" not in one.args]

    @property
    def closed(self) -> list[m.Command]:
        return [one for one in self.asked if "close" in one.args]

    async def request(self, of: str = "") -> m.Command:
        """The first request, of an execution if it is named."""
        return (await until(lambda: [one for one in self.open if of in {"", one.args["execution_id"]}]))[0]

    async def tell(
        self, data: str | bytes, at: int, *, after: int | None = None, stream: str = "stdout", of: str = ""
    ) -> None:
        """A chunk that begins at `at`; `after` differs where bytes are lost in between. `of`: which execution."""
        data = data.encode() if isinstance(data, str) else data
        args = {"stream": stream, "after": str(at if after is None else after)}
        await self._say(m.Response(ep=1, id=(await self.request(of)).id, args=args, offset=at, data=data))

    async def end(self, of: str = "", **sent: str) -> None:
        """That was all; `sent` is how many bytes of each stream it is."""
        await self._say(m.Response(ep=1, id=(await self.request(of)).id, args={"end": "1", **sent}))

    async def refuse(self, code: str, message: str) -> None:
        await self._say(m.Response(ep=1, id=(await self.request()).id, error=Reason(code, message)))

    async def _say(self, message: m.Response) -> None:
        await self._node.say(Channel.RESPONSE, message, "logs")
