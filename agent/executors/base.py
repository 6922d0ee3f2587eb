"""What an executor is: the few verbs by which the agent runs work it can find again after a crash."""

from typing import Protocol

import msgspec

from wire.failures import Reason
from wire.loglines import STREAM_CAP
from wire.resources import Resources


class Mount(msgspec.Struct, frozen=True):
    """A host path shown to the work at `target`."""

    host: str
    target: str
    read_only: bool = True


class Output(msgspec.Struct, frozen=True):
    """A named output: the work writes at `path`; the bytes land in the host folder `host`."""

    name: str
    path: str
    host: str


class Port(msgspec.Struct, frozen=True):
    """A port of the work that is reachable from outside; `target` differs from `host` on bridges.

    `address` is the one of the box on which a bridge listens; empty for all.
    """

    name: str
    host: int
    target: int
    address: str = ""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an executor needs to start one execution. Plain JSON, stored as `work.json`.

    `folder` is the execution's own folder. The executor writes `results/stdout` and
    `results/stderr` below it (capped at `stream_cap`), and may use `run/` for its own files.
    `timeout` is wall-clock seconds from start, None for no limit. `devices` are CDI names of GPUs, its own alone.
    """

    execution_id: str
    job_id: str
    folder: str
    engine: str
    params: dict[str, object]
    env: dict[str, str] = {}
    resources: Resources = Resources()
    network: str = "none"
    domains: list[str] = []
    ports: list[Port] = []
    devices: list[str] = []
    mounts: list[Mount] = []
    outputs: list[Output] = []
    timeout: float | None = None
    pids: int = 256
    stream_cap: int = STREAM_CAP
    allow_unenforced: bool = False


class Handle(msgspec.Struct, frozen=True):
    """Where the work is. Stored in the execution's row; enough to find it again after any restart.

    `begun` is False for what was made ready but never let go: it is started as if it were not there, or removed.
    """

    executor: str
    execution_id: str
    folder: str
    ref: dict[str, str | int] = {}
    begun: bool = True


class ExitReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the work ended. `exit_code` is None when the program itself never ended.

    `reason` is set whenever something other than the program's own exit ended it:
    `timeout`, `oom`, `cancelled`, `vanished`, `trap`, `start-failed`, `limits-unenforced`,
    `output-refused`. Totals count all bytes written, also those over the cap.
    """

    exit_code: int | None = None
    reason: Reason | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    seconds: float = 0.0
    steps: dict[str, float] = {}
    """Durations in milliseconds by step name (`compile`, `run` …), for the table of steps."""


class EngineFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the engine can be used on this box now. `why` is set when it cannot."""

    available: bool
    version: str = ""
    detail: dict[str, str] = {}
    why: str = ""


class Executor(Protocol):
    """Runs executions of one engine type. All methods may be called concurrently."""

    name: str

    async def facts(self) -> EngineFacts:
        """Look at the box now; called at start and every few minutes. Never raises."""
        ...

    async def refusals(self, engine: str, params: dict[str, object]) -> list[Reason]:
        """Reasons why this box cannot run such an engine spec (empty: it can). Cheap; no network."""
        ...

    async def start(self, work: Work) -> Handle:
        """Start the work and return where it is.

        Idempotent by execution id: work that runs or has ended already is found, not started again.
        Raises ExecutionFailed. Cancelling it may leave started work; `found` returns it then.
        """
        ...

    async def wait(self, handle: Handle) -> ExitReport:
        """Wait for the end and tell how it came. May be called many times, also after a restart.

        Cancelling leaves the work alone. Work that left no trace gives reason `vanished`.
        """
        ...

    async def stop(self, handle: Handle, grace: float, reason: Reason) -> None:
        """End the work: ask first, kill after `grace` seconds. `wait` then reports `reason`. Idempotent."""
        ...

    async def found(self) -> list[Handle]:
        """All work of this executor on this box, running or ended, that was not removed yet."""
        ...

    async def remove(self, handle: Handle) -> None:
        """Forget ended work outside its folder (container, lock). Idempotent."""
        ...

    async def close(self) -> None:
        """Let go of helpers; running work goes on."""
        ...
