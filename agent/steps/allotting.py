"""What only one execution can have at a time, ports and GPUs: chosen, and committed before the work begins."""

from dataclasses import dataclass

from agent.executors.base import Port
from agent.steps.devices import Devices
from agent.steps.ports import Ports
from agent.store.allotments import GPU, PORT, Allotments
from wire.jobs.job import Task
from wire.quantities import resources


@dataclass(frozen=True)
class Allotted:
    """What an execution was given."""

    ports: list[Port]
    devices: list[str]


class Allotting:
    """Holds the two that choose, and the rows by which a restart of the agent knows what was chosen."""

    def __init__(self, ports: Ports, devices: Devices, rows: Allotments, *, allow_unenforced: bool) -> None:
        self._ports, self._devices, self._rows = ports, devices, rows
        self._allow_unenforced = allow_unenforced

    def restore(self) -> None:
        """At start: work that goes on keeps what it has."""
        self._ports.restore(self._rows.of(PORT))
        self._devices.restore(self._rows.of(GPU))

    async def give(self, execution_id: str, task: Task, *, bridged: bool) -> Allotted:
        """Everything of the kind that the task asks for, durable. Raises ExecutionFailed; nothing is kept then."""
        wanted = resources(task.resources).gpu
        try:
            ports = self._ports.give(execution_id, task.network.ports, bridged=bridged)
            devices = self._devices.give(execution_id, wanted if self._may_give(wanted) else 0)
            rows = [(PORT, str(port.host)) for port in ports] + [(GPU, name) for name in devices]
            await self._rows.put(execution_id, rows)
        except BaseException:
            self.take_back(execution_id)
            raise
        return Allotted(ports, devices)

    def take_back(self, execution_id: str) -> None:
        """The work has ended."""
        self._ports.take_back(execution_id)
        self._devices.take_back(execution_id)
        self._rows.drop(execution_id)

    def _may_give(self, wanted: int) -> bool:
        """Where the owner lets work run without its own GPU, it does when there are too few."""
        return not self._allow_unenforced or wanted <= len(self._devices.free)
