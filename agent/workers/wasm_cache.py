"""The WASM engine, and compiled modules on disk and in memory: keyed by content, engine version and settings."""

import fcntl
import hashlib
import os
from collections import OrderedDict
from pathlib import Path

import wasmtime

from agent.executors.wasm_orders import MODULE_CAP, ModuleFile
from agent.executors.wasm_spec import installed_version, refusal
from agent.workers.wasm_compile import compile_apart
from agent.workers.wasm_guest import wasi_linker
from wire.failures import ExecutionFailed

SETTINGS = {
    "wasm_exceptions": True,
    "wasm_function_references": True,
    "wasm_gc": True,
    "wasm_memory64": True,
    "wasm_multi_memory": True,
    "wasm_relaxed_simd": True,
    "wasm_tail_call": True,
    "max_wasm_stack": 1024 * 1024,
}
IN_MEMORY = 32
"""Modules that the warm parent keeps mapped."""

_SUFFIX = hashlib.sha256(repr((installed_version(), os.uname().machine, SETTINGS)).encode()).hexdigest()[:16]


def new_engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    for name, value in SETTINGS.items():
        setattr(config, name, value)
    return wasmtime.Engine(config)


class ModuleCache:
    """Finds compiled modules; `compiled` makes them in a process of its own."""

    def __init__(self, folder: Path, engine: wasmtime.Engine) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = folder.stat()
        if state.st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to another user, and compiled modules are trusted code")
        folder.chmod(0o700)
        self.folder = folder
        self.engine = engine
        self.linker = wasi_linker(engine)
        self._digests: OrderedDict[tuple[int, ...], str] = OrderedDict()
        self._modules: OrderedDict[str, wasmtime.Module] = OrderedDict()

    def digest(self, file: ModuleFile) -> str:
        """The sha256 of a module's source; remembered for as long as the file looks the same."""
        with Path(file.path).open("rb", buffering=0) as source:
            state = os.fstat(source.fileno())
            if state.st_size > MODULE_CAP:
                raise ExecutionFailed(refusal(f"module {file.name} has more than {MODULE_CAP} bytes"))
            key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            if key not in self._digests:
                self._digests[key] = hashlib.file_digest(source, "sha256").hexdigest()
                if len(self._digests) > 1024:
                    self._digests.popitem(last=False)
            return self._digests[key]

    def path(self, digest: str) -> Path:
        return self.folder / f"{digest}-{_SUFFIX}.cwasm"

    def loaded(self, files: list[ModuleFile]) -> list[tuple[str, wasmtime.Module | None]]:
        """Digest and module of each file; no module where it must be compiled. Raises ExecutionFailed, OSError."""
        digests = [self.digest(file) for file in files]
        return [(digest, self.ready(digest)) for digest in digests]

    def ready(self, digest: str) -> wasmtime.Module | None:
        """A module that is mapped, or whose compiled form is on disk; None when it must be compiled."""
        module = self._modules.get(digest)
        if module is None:
            module = self._load(digest)
            if module is None:
                return None
            self._modules[digest] = module
            if len(self._modules) > IN_MEMORY:
                self._modules.popitem(last=False)
        self._modules.move_to_end(digest)
        return module

    def compiled(self, file: ModuleFile, digest: str) -> wasmtime.Module:
        """Compile once, however many ask at the same time. Raises ExecutionFailed."""
        lock = os.open(self.folder / f"{digest}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            module = self._load(digest)
            if module is None:
                compile_apart(self.engine, file, digest, self.path(digest))
                module = self._load(digest)
            if module is None:
                raise ExecutionFailed(refusal(f"the compiled form of {file.name} cannot be loaded", retryable=True))
            return module
        finally:
            (self.folder / f"{digest}.lock").unlink(missing_ok=True)
            os.close(lock)

    def _load(self, digest: str) -> wasmtime.Module | None:
        path = self.path(digest)
        try:
            os.utime(path)
            return wasmtime.Module.deserialize_file(self.engine, str(path))
        except (FileNotFoundError, wasmtime.WasmtimeError):
            return None  # never made, or made for another processor: compile again
