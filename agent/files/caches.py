"""Keeps what was brought for executions within bounds: inputs by content, and blobs. What is in use stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from agent.files.blobs import Blobs
from agent.inputs.cache import ContentCache
from agent.plugins import Plugins
from agent.settings.config import KeepSettings
from agent.store.ledger import Executions
from wire.jobs.params import plugin_kind
from wire.quantities import parse_size


@runtime_checkable
class Keeps(Protocol):
    """An input source whose inputs lie in a shared place."""

    def kept(self, params: dict[str, object]) -> Path | None:
        """Where `fetch` finds such an input, None if it is not shared."""
        ...


class Caches:
    """`short` says whether the disk is nearly full: then nothing is kept that is not in use."""

    def __init__(
        self,
        *,
        executions: Executions,
        plugins: Plugins,
        inputs: ContentCache,
        blobs: Blobs,
        short: Callable[[], bool],
        keep: KeepSettings,
    ) -> None:
        self._most_inputs, self._most_blobs = parse_size(keep.inputs_size), parse_size(keep.blobs_size)
        self._executions, self._plugins = executions, plugins
        self._inputs, self._blobs, self._short = inputs, blobs, short

    async def trim(self) -> None:
        """Remove what has not been used for the longest time, down to the bounds."""
        in_use, short = self._in_use(), self._short()
        await self._inputs.trim(0 if short else self._most_inputs, in_use)
        await self._blobs.trim(0 if short else self._most_blobs, in_use)

    def _in_use(self) -> set[Path]:
        """Told by the orders of what lives, so that it is known after a restart too."""
        found: set[Path] = set()
        for execution in self._executions.known.values():
            for wanted in execution.job.task.input_sources if execution.live else ():
                source = self._plugins.inputs.get(plugin_kind(wanted.source.type))
                place = source.kept(wanted.source.params) if isinstance(source, Keeps) else None
                if place is not None:
                    found.add(place)
        return found
