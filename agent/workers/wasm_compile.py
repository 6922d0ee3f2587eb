"""Compiles a WASM module in a process of its own, so that a bomb takes down neither the worker nor the box."""

import hashlib
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec
import wasmtime

from agent.executors.process_names import birth_of
from agent.executors.wasm_orders import ModuleFile
from agent.executors.wasm_spec import refusal
from wire import failpoints
from wire.failures import ExecutionFailed, Reason
from wire.files.wholefile import sync_folder

CPU_SECONDS = 300
MEMORY = 3 * 1024**3
CACHE_CAP = 1024**3
"""Bytes of compiled modules kept on disk; the least recently used leave first."""

_running: set[int] = set()


def end_compilers() -> None:
    """Kill what compiles for this process; called when its time is up."""
    for pid in list(_running):
        os.kill(pid, signal.SIGKILL)


def compile_apart(engine: wasmtime.Engine, file: ModuleFile, digest: str, target: Path) -> None:
    """Leave the compiled form at `target`. Raises ExecutionFailed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(engine, file, digest, target, writing)
    _running.add(pid)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read(8192)
    _, status = os.waitpid(pid, 0)
    _running.discard(pid)
    if said:
        raise ExecutionFailed(msgspec.json.decode(said, type=Reason))
    if status != 0:
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            raise ExecutionFailed(
                refusal(f"compiling {file.name} was killed; is the box out of memory?", retryable=True)
            )
        limits = f"{CPU_SECONDS} s of processor time and {MEMORY >> 20} MiB of memory"
        raise ExecutionFailed(refusal(f"compiling {file.name} was ended; it may take {limits}"))


def _child(engine: wasmtime.Engine, file: ModuleFile, digest: str, target: Path, writing: int) -> NoReturn:
    reason: Reason | None = None
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))  # a signal of its own comes first
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        _compile(engine, file, digest, target)
    except ExecutionFailed as error:
        reason = error.reason
    except wasmtime.WasmtimeError as error:
        message = " ".join(str(error).split())
        reason = refusal(f"{file.name} is not a valid module: {message[:500]}")
    except (OSError, MemoryError) as error:
        reason = refusal(f"compiling {file.name} failed: {error}", retryable=True)
    finally:
        if reason is not None:
            os.write(writing, msgspec.json.encode(reason))
        os._exit(0 if reason is None and target.exists() else 1)


def _compile(engine: wasmtime.Engine, file: ModuleFile, digest: str, target: Path) -> None:
    source = Path(file.path).read_bytes()
    _check_source(source, file.name)
    if hashlib.sha256(source).hexdigest() != digest:
        raise ExecutionFailed(refusal(f"{file.name} changed while it was read", retryable=True))
    code = wasmtime.Module(engine, source).serialize()
    _make_room(target.parent, len(code))
    temporary = target.with_suffix(f".{os.getpid()}.part")
    with temporary.open("wb") as part:
        part.write(code)
        part.flush()
        os.fsync(part.fileno())  # after a power cut zeros must not be taken for code
    failpoints.at("module.before")
    temporary.rename(target)
    failpoints.at("module.renamed")
    sync_folder(target.parent)


def _check_source(source: bytes, name: str) -> None:
    if source[:8] == b"\0asm\x01\0\0\0":
        return
    if source[:4] == b"\0asm":
        hint = "build for wasm32-wasip1 (WASI preview 1)"
        raise ExecutionFailed(refusal(f"{name} is a WebAssembly component, and only modules run here", hint))
    if source.lstrip()[:1] in {b"(", b";"}:
        raise ExecutionFailed(refusal(f"{name} is WebAssembly text", "translate it first: wat2wasm"))
    raise ExecutionFailed(refusal(f"{name} is not a WebAssembly module: it does not begin with \\0asm"))


def _make_room(folder: Path, needed: int) -> None:
    """Least recently used first. Other compilers work in the same folder, so any file may be gone by now."""
    files: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            state = path.stat()
            if path.suffix == ".cwasm":
                files.append((state.st_mtime, state.st_size, path))
            elif path.suffix == ".part" and birth_of(int(path.suffixes[-2][1:])) is None:
                path.unlink()  # its compiler was killed
    total = needed + sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= CACHE_CAP:
            return
        path.unlink(missing_ok=True)
        total -= size
