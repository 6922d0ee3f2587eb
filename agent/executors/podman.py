"""Runs container jobs (`docker` and `podman` mean the same) through a driver child; never imports podman itself."""

import asyncio
from collections.abc import Sequence

import msgspec

from agent.executors.base import EngineFacts, ExitReport, Handle, Work
from agent.executors.http_network import enforcement
from agent.executors.podman_calls import FoundAll, ListArgs, Order, StartArgs, StopArgs, WorkArgs
from agent.executors.podman_devices import takes_cdi
from agent.executors.podman_driver import Driver
from agent.executors.podman_folder import PodmanFolder
from agent.executors.podman_params import ENGINES, parse
from agent.executors.podman_socket import look
from wire.failures import ExecutionFailed, Reason


class Nothing(msgspec.Struct, frozen=True):
    """An answer without content."""


class PodmanExecutor:
    """One container per execution, named `tender-<execution id>`, found again by its label.

    Everything that must outlive this process lies in the container's labels and in the execution's
    folder (`run/podman.json`, `run/stop.json`, `run/report.json`); this object holds no state of any work.
    """

    name = "podman"

    def __init__(
        self,
        socket: str,
        *,
        node: str,
        deadline: float = 30.0,
        pull: float = 900.0,
        grace: float = 10.0,
        idle: float = 120.0,
        allow: Sequence[str] = (),
    ) -> None:
        self._socket = socket
        self._node = node
        self._deadline = deadline
        self._pull = pull
        self._grace = grace
        self._allow = list(allow)
        self.driver = Driver(socket, deadline=deadline, idle=idle)

    async def facts(self) -> EngineFacts:
        facts = await look(self._socket, self._deadline)
        if not facts.available:
            return facts
        domains = enforcement(self._socket, rootless=facts.detail.get("rootless") == "true")
        cdi = "yes" if takes_cdi(facts.version) else "no"
        return msgspec.structs.replace(facts, detail=facts.detail | {"domains": domains, "cdi": cdi})

    async def refusals(self, engine: str, params: dict[str, object]) -> list[Reason]:
        if engine.lower() not in ENGINES:
            return [Reason("engine", f"{engine} is not a container engine", "use docker or podman", retryable=False)]
        try:
            parse(params)
        except ExecutionFailed as error:
            return [error.reason]
        return []

    async def start(self, work: Work) -> Handle:
        folder = PodmanFolder(work.folder)
        if folder.report() is not None:
            return self._handle(work.execution_id, work.folder, folder.order())
        for reason in await self.refusals(work.engine, work.params):
            raise ExecutionFailed(reason)
        # one request per step, each with its deadline, and the pull with its own
        within = self._pull + 8 * self._deadline
        args = StartArgs(work, self._node, self._grace, self._pull, self._allow)
        order = await self.driver.call("start", args, Order, within=within)
        return self._handle(work.execution_id, work.folder, order)

    async def wait(self, handle: Handle) -> ExitReport:
        folder = PodmanFolder(handle.folder)
        pause = 0.1
        while True:
            report = folder.report()
            if report is not None:
                return report
            try:
                args = WorkArgs(handle.execution_id, handle.folder)
                return await self.driver.call("watch", args, ExitReport, within=None)
            except ExecutionFailed as error:
                if not error.reason.retryable:
                    raise
                # the driver or Podman is away; the container is not, so keep asking
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)

    async def stop(self, handle: Handle, grace: float, reason: Reason) -> None:
        if PodmanFolder(handle.folder).report() is not None:
            return
        args = StopArgs(handle.execution_id, handle.folder, grace, reason)
        await self.driver.call("stop", args, Nothing, within=grace + 4 * self._deadline)

    async def found(self) -> list[Handle]:
        answer = await self.driver.call("list", ListArgs(self._node), FoundAll, within=2 * self._deadline)
        return [
            Handle(self.name, item.execution_id, item.folder, {"container": item.container}, item.begun)
            for item in answer.found
        ]

    async def remove(self, handle: Handle) -> None:
        args = WorkArgs(handle.execution_id, handle.folder)
        await self.driver.call("remove", args, Nothing, within=4 * self._deadline)

    async def close(self) -> None:
        await self.driver.close()

    def _handle(self, execution_id: str, folder: str, order: Order | None) -> Handle:
        return Handle(self.name, execution_id, folder, {"container": order.container} if order else {})
