"""The shipped fake executor, with a record of every start that outlives the process: what really ran, and when."""

from dataclasses import dataclass

from agent.executors.base import ExitReport, Handle, Work
from agent.executors.fake import FakeExecutor, _load
from agent.executors.run_folder import RunFolder
from tests.fault.sim.loop import PROCESS


@dataclass(frozen=True)
class Start:
    """Work that was let go: on which boot of which box, and when in true virtual seconds."""

    node: str
    execution_id: str
    boot: str
    at: float


class RecordedExecutor(FakeExecutor):
    """Tells `process.box` of each start and each end."""

    async def start(self, work: Work) -> Handle:
        folder = RunFolder(work.folder)
        before = folder.was_started() or folder.was_removed()
        handle = await super().start(work)
        process = PROCESS.get()
        assert process is not None
        if not before and folder.was_started():
            process.box.started(work)
        return handle

    async def wait(self, handle: Handle) -> ExitReport:
        report = await super().wait(handle)
        process = PROCESS.get()
        assert process is not None
        play = _load(RunFolder(handle.folder))
        if play is not None:
            process.box.ended(handle.execution_id, play.script.run_for, report)
        return report
