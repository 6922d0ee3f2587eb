"""The plug-ins that this node offers, by canonical type, for those who carry executions out."""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.bidding import facts
from agent.executors.base import Executor
from agent.inputs.base import InputSource
from agent.publishers.base import Publisher
from wire.failures import ExecutionFailed, Reason
from wire.jobs.params import engine_kind, plugin_kind


@dataclass(frozen=True)
class Plugins(facts.Plugins):
    """The tables that bidding looks at, with look-ups that fail an execution for what is not there."""

    def executor(self, engine: str) -> Executor:
        """The executor of an engine type. Raises ExecutionFailed with reason `engine`."""
        found = self.executors.get(engine_kind(engine))
        if found is None:
            raise _missing("engine", engine, self.executors)
        return found

    def source(self, kind: str) -> InputSource:
        """The input source of a type. Raises ExecutionFailed with reason `input`."""
        found = self.inputs.get(plugin_kind(kind))
        if found is None:
            raise _missing("input", kind, self.inputs)
        return found

    def publisher(self, kind: str) -> Publisher:
        """The publisher of a type. Raises ExecutionFailed with reason `publisher`."""
        found = self.publishers.get(plugin_kind(kind))
        if found is None:
            raise _missing("publisher", kind, self.publishers)
        return found


def _missing(code: str, name: str, known: Iterable[str]) -> ExecutionFailed:
    offered = ", ".join(sorted(known)) or "none"
    return ExecutionFailed(Reason(code, f"this node does not offer {name}", f"it offers {offered}", retryable=False))
