"""An executor without programs: it pretends by script, for tests of everything around executors and for demonstrations.

Parameters: `run_for` seconds, `until` (a file whose coming ends it sooner), `exit_code`, `stdout`, `stderr`, `files`
({"output/name": text}), `fail_start` (message), `reason` (code with which the work ends), `vanish` (ends without a
report), `ignore_stop`.
Its work is a file with a start time, so it goes on while the agent is away and is found again.
"""

import asyncio
from pathlib import Path

import msgspec

from agent.executors.base import EngineFacts, ExitReport, Handle, Work
from agent.executors.capped import CappedStream
from agent.executors.process_names import boot_id
from agent.executors.run_folder import RunFolder, Started
from wire.clock import monotonic
from wire.failures import ExecutionFailed, Reason

_LOOK_AGAIN = 0.02
_VANISHED = Reason("vanished", "the fake work ended without leaving a report")


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the fake work does."""

    run_for: float = 0.0
    until: str = ""
    exit_code: int = 0
    stdout: str = ""
    stderr: str = ""
    files: dict[str, str] = {}
    fail_start: str = ""
    reason: str = ""
    vanish: bool = False
    ignore_stop: bool = False


class Play(msgspec.Struct, frozen=True):
    """The work as it lies in `run/fake.json`: its script and when it began, on this boot's monotonic clock."""

    work: Work
    script: Script
    began: float


class FakeExecutor:
    """The executor for engine type `fake`. `root` holds the execution folders."""

    name = "fake"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stopped: dict[str, asyncio.Event] = {}

    async def facts(self) -> EngineFacts:
        return EngineFacts(available=True, version="1")

    async def refusals(self, engine: str, params: dict[str, object]) -> list[Reason]:
        if engine.lower() != self.name:
            return [Reason("start-failed", f"the fake executor does not run engine {engine}", retryable=False)]
        script = _script(params)
        return [script] if isinstance(script, Reason) else []

    async def start(self, work: Work) -> Handle:
        handle = Handle(self.name, work.execution_id, work.folder)
        folder = RunFolder(work.folder)
        if folder.was_started() or folder.was_removed():
            return handle
        script = _script(work.params)
        if isinstance(script, Reason):
            raise ExecutionFailed(script)
        if script.fail_start:
            raise ExecutionFailed(Reason("start-failed", script.fail_start))
        folder.prepare()
        _save(folder, Play(work, script, monotonic()))
        folder.claim(Started(executor=self.name, execution_id=work.execution_id, boot=boot_id()))
        return handle

    async def wait(self, handle: Handle) -> ExitReport:
        folder = RunFolder(handle.folder)
        play = _load(folder)
        if play is None or not _same_boot(folder):
            return folder.report() or ExitReport(reason=_VANISHED)
        stopped = self._event(handle.execution_id)
        while (report := folder.report()) is None:
            if (left := _end(play) - monotonic()) <= 0 or _is_stopped(folder, play):
                _finish(folder, play)
                if folder.report() is None:
                    return ExitReport(reason=_VANISHED)
            else:
                await _either(stopped, min(left, _LOOK_AGAIN) if play.script.until else left)
        return report

    async def stop(self, handle: Handle, grace: float, reason: Reason) -> None:
        folder = RunFolder(handle.folder)
        play = _load(folder)
        if play is None or folder.report() is not None or monotonic() >= _end(play):
            return
        if play.script.ignore_stop:
            await asyncio.sleep(grace)
        if folder.report() is None:
            await asyncio.to_thread(folder.order_stop, reason)
        self._event(handle.execution_id).set()

    async def found(self) -> list[Handle]:
        if not self.root.is_dir():
            return []
        handles: list[Handle] = []
        for path in sorted(self.root.iterdir()):
            started = RunFolder(path).started()
            if started is not None and started.executor == self.name:
                handles.append(Handle(self.name, started.execution_id, str(path)))
        return handles

    async def remove(self, handle: Handle) -> None:
        RunFolder(handle.folder).forget()
        self._stopped.pop(handle.execution_id, None)

    async def close(self) -> None:
        """Nothing is held; the work goes on in its file."""

    def _event(self, execution_id: str) -> asyncio.Event:
        return self._stopped.setdefault(execution_id, asyncio.Event())


async def _either(stopped: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        pass


def _script(params: dict[str, object]) -> Script | Reason:
    try:
        return msgspec.convert(params, Script)
    except msgspec.ValidationError as error:
        return Reason("start-failed", f"the fake engine's script is not valid: {error}", retryable=False)


def _save(folder: RunFolder, play: Play) -> None:
    temporary = folder.path / "fake.json.tmp"
    temporary.write_bytes(msgspec.json.encode(play))
    temporary.rename(folder.path / "fake.json")


def _load(folder: RunFolder) -> Play | None:
    try:
        return msgspec.json.decode((folder.path / "fake.json").read_bytes(), type=Play)
    except (OSError, msgspec.DecodeError):
        return None


def _same_boot(folder: RunFolder) -> bool:
    started = folder.started()
    return started is None or started.boot == boot_id()


def _end(play: Play) -> float:
    run_for = play.script.run_for
    if play.script.until and Path(play.script.until).exists():
        return play.began
    return play.began + (run_for if play.work.timeout is None else min(run_for, play.work.timeout))


def _is_stopped(folder: RunFolder, play: Play) -> bool:
    return folder.stop_reason() is not None and monotonic() < _end(play)


def _finish(folder: RunFolder, play: Play) -> None:
    """Do what the program would have done, and leave the report."""
    script = play.script
    reason = folder.stop_reason()
    if reason is None and play.work.timeout is not None and script.run_for > play.work.timeout:
        reason = Reason("timeout", f"the work ran longer than {play.work.timeout:g} s")
    if reason is None and script.vanish:
        return
    if reason is None and script.reason:
        reason = Reason(script.reason, f"the script ends with {script.reason}")
    for name, text in (("stdout", script.stdout), ("stderr", script.stderr)):
        stream = CappedStream(folder.results / name, play.work.stream_cap)
        stream(text.encode())
        stream.close()
    for name, text in script.files.items():
        output, _, rest = name.partition("/")
        host = next((out.host for out in play.work.outputs if out.name == output), None)
        if host is not None and ".." not in Path(rest).parts:
            target = Path(host, rest)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    folder.write_report(
        ExitReport(
            exit_code=script.exit_code if reason is None else None,
            reason=reason,
            stdout_bytes=len(script.stdout.encode()),
            stderr_bytes=len(script.stderr.encode()),
            seconds=round(monotonic() - play.began, 6),
        )
    )
