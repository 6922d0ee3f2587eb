"""What the core and the WASM worker say to each other: one JSON line per order and per answer."""

import msgspec

from wire.failures import Reason

LINE_CAP = 1024 * 1024
"""Bytes of one order or answer."""

MODULE_CAP = 64 * 1024 * 1024
"""Bytes of a module's source. Compiling takes up to thirty times as much memory."""

DEFAULT_MEMORY = 512 * 1024 * 1024
"""Bytes of linear memory for work that asks for none."""


class ModuleFile(msgspec.Struct, frozen=True):
    """A module on this box. `name` is argv[0] of the entry module, or the name under which others import it."""

    path: str
    name: str


class Preopen(msgspec.Struct, frozen=True):
    """A host folder that the guest sees at `guest`."""

    host: str
    guest: str
    writable: bool = False


class StagedFile(msgspec.Struct, frozen=True):
    """A single file that the guest sees at `guest`/`name`; WASI can only open folders, so it needs one."""

    host: str
    guest: str
    name: str
    writable: bool = False


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """One execution, resolved to host paths. `modules` holds the imports in order, the entry module last."""

    n: int
    execution_id: str
    folder: str
    modules: list[ModuleFile]
    entry_point: str
    argv: list[str]
    env: dict[str, str]
    preopens: list[Preopen]
    staged: list[StagedFile]
    outputs: list[str]
    memory: int
    disk: int
    timeout: float | None
    stream_cap: int


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """About order `n`: the process that runs it, or a refusal; `gone` says that its process was reaped."""

    n: int
    pid: int = 0
    birth: int = 0
    refusal: Reason | None = None
    gone: bool = False
