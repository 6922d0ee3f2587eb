"""Which executors, inputs and publishers this node has, built from its settings. Imports no heavy library."""

from collections.abc import Callable
from pathlib import Path

from agent.executors.base import Executor
from agent.executors.fake import FakeExecutor
from agent.executors.podman import PodmanExecutor
from agent.executors.podman_service import PodmanService
from agent.executors.wasm import WasmExecutor
from agent.files.blobs import Blobs
from agent.files.transfer import Transfers
from agent.inputs.base import InputSource
from agent.inputs.cache import ContentCache
from agent.inputs.http import HttpSource
from agent.inputs.inline import InlineSource
from agent.inputs.local import LocalSource
from agent.plugins import Plugins
from agent.publishers.base import Publisher
from agent.publishers.local import LocalPublisher
from agent.publishers.s3 import S3Publisher
from agent.settings.config import AgentConfig
from agent.settings.rules import LEAST_UPLOAD
from wire.jobs.params import plugin_kind

USUAL_SOCKETS = ("/run/podman/podman.sock", "/var/run/podman/podman.sock")


class Offers:
    """The plug-ins, and what they share: the transfer child, the input cache, the private Podman service."""

    def __init__(self, config: AgentConfig, *, root: Path, node_id: str, blobs: Blobs, with_fake: bool) -> None:
        data = Path(config.data_dir)
        link = config.link
        # All uploads together keep to the rate, so then they go one by one.
        self.transfers = Transfers(uploads=1) if link.upload_bytes else Transfers()
        self.measured: Callable[[], float | None] = lambda: None
        """Bytes a second that the link was seen to carry lately; set when there is one."""
        self._upload_bytes, self._is_guess = link.upload_bytes, not link.upload_rate
        self.cache = ContentCache(root=data / "inputs")
        self.podman_service = PodmanService(data / "podman") if config.podman.managed else None
        socket = self.podman_service.socket if self.podman_service else config.podman.socket or usual_socket()
        executors: dict[str, Executor] = {
            "wasm": WasmExecutor(root, data / "modules"),
            "podman": PodmanExecutor(socket, node=node_id, allow=config.network.allow_hosts),
        }
        if with_fake:
            executors["fake"] = FakeExecutor(root)
        local = LocalSource(allowed=config.inputs.allow_listed_local_paths)
        http = HttpSource(transfers=self.transfers, cache=self.cache, allow=config.inputs.allow_hosts)
        sources: list[tuple[tuple[str, ...], InputSource]] = [
            (InlineSource.aliases, InlineSource(blobs=blobs.folder, cache=self.cache)),
            (HttpSource.aliases, http),
            (LocalSource.aliases, local),
        ]
        publishers: list[tuple[tuple[str, ...], Publisher]] = [
            (LocalPublisher.aliases, LocalPublisher()),
            (S3Publisher.aliases, self._s3(config)),
        ]
        off_inputs = {plugin_kind(name) for name in config.inputs.disabled}
        off_publishers = {plugin_kind(name) for name in config.publishers.disabled}
        self.plugins = Plugins(
            executors,
            {plugin_kind(n): one for names, one in sources for n in names if plugin_kind(n) not in off_inputs},
            {plugin_kind(n): one for names, one in publishers for n in names if plugin_kind(n) not in off_publishers},
        )

    def _s3(self, config: AgentConfig) -> S3Publisher:
        file = config.publishers.s3_credentials_file
        return S3Publisher(
            transfers=self.transfers,
            credentials=Path(file) if file else None,
            allow=config.publishers.allow_hosts,
            rate=self._upload_rate,
        )

    def _upload_rate(self) -> int:
        """Bytes a second: the owner's word, or the profile's, and then at most half of what was measured."""
        measured = self.measured()
        if self._upload_bytes and self._is_guess and measured:
            return max(LEAST_UPLOAD, min(self._upload_bytes, int(measured / 2)))
        return self._upload_bytes

    async def close(self) -> None:
        """Let go of all children; running work goes on."""
        for executor in self.plugins.executors.values():
            await executor.close()
        await self.transfers.close()
        if self.podman_service is not None:
            await self.podman_service.close()


def usual_socket() -> str:
    """The first of the places where a Podman socket is usually found; the first name if there is none."""
    return next((path for path in USUAL_SOCKETS if Path(path).exists()), USUAL_SOCKETS[0])
