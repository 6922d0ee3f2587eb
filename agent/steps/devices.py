"""GPUs for executions: which of the node's devices belongs to whom, each to one at a time."""

from collections.abc import Mapping, Sequence

from wire.failures import ExecutionFailed, Reason


class Devices:
    """Gives devices out by their CDI names; the caller says when an execution needs its own no more."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._given: dict[str, list[str]] = {}

    def restore(self, given: Mapping[str, Sequence[str]]) -> None:
        """What work that goes on has from before a restart."""
        self._given = {execution_id: list(names) for execution_id, names in given.items()}

    @property
    def free(self) -> list[str]:
        taken = {name for names in self._given.values() for name in names}
        return [name for name in self._names if name not in taken]

    def give(self, execution_id: str, count: int) -> list[str]:
        """So many devices, of one kind if one kind has enough. Raises ExecutionFailed when there are too few."""
        self.take_back(execution_id)
        free = self.free
        if count > len(free):
            message = f"{len(free)} of this node's GPUs are free now, {count} are needed"
            raise ExecutionFailed(Reason("gpu", message, "wait until work ends, or use another node"))
        kinds: dict[str, list[str]] = {}
        for name in free:
            kinds.setdefault(name.partition("=")[0], []).append(name)
        fitting = [names for names in kinds.values() if len(names) >= count]
        chosen = min(fitting, key=len, default=free)[:count]
        if chosen:
            self._given[execution_id] = chosen
        return chosen

    def take_back(self, execution_id: str) -> None:
        self._given.pop(execution_id, None)
