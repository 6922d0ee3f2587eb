"""Bacalhau's WASM engine parameters, and how a piece of work becomes orders for the worker."""

import importlib.util
import posixpath
from pathlib import Path

import msgspec

from agent.executors.base import Mount, Work
from agent.executors.wasm_orders import DEFAULT_MEMORY, MODULE_CAP, ModuleFile, Orders, Preopen, StagedFile
from wire.failures import ExecutionFailed, Reason


class WasmSpec(msgspec.Struct, frozen=True):
    """The engine's parameters after reading. Paths are mount targets, as the job's author wrote them."""

    entry_module: str
    entry_point: str = "_start"
    parameters: list[str] = []
    import_modules: list[str] = []


_KEYS = {
    "entrymodule": "entry_module",
    "entrypoint": "entry_point",
    "parameters": "parameters",
    "importmodules": "import_modules",
}


def refusal(message: str, hint: str = "", *, retryable: bool = False) -> Reason:
    return Reason("start-failed", message, hint, retryable=retryable)


def read_spec(params: dict[str, object]) -> WasmSpec | Reason:
    """Keys match without regard to case; None counts as absent."""
    fields: dict[str, object] = {}
    for key, value in params.items():
        name = _KEYS.get(key.lower())
        if name is None:
            return refusal(f"the wasm engine has no parameter {key}", f"known: {', '.join(_KEYS)}")
        if value is not None and value != "":
            fields[name] = value
    if "entry_module" not in fields:
        return refusal("EntryModule is missing", "set it to the target path of the input source that holds the module")
    try:
        return msgspec.convert(fields, WasmSpec)
    except msgspec.ValidationError as error:
        return refusal(f"the wasm engine's parameters are not valid: {error}")


def orders_for(work: Work, n: int) -> Orders:
    """Resolve all paths on this box. Raises ExecutionFailed with what is wrong."""
    spec = read_spec(work.params)
    if isinstance(spec, Reason):
        raise ExecutionFailed(spec)
    entry = _module(work.mounts, spec.entry_module)
    imports = [_module(work.mounts, target) for target in spec.import_modules]
    modules = [ModuleFile(file.path, posixpath.splitext(file.name)[0]) for file in imports]
    _check_texts(spec.parameters, work.env)
    preopens, staged = _folders(work, {file.path for file in (*modules, entry)})
    return Orders(
        n=n,
        execution_id=work.execution_id,
        folder=work.folder,
        modules=[*modules, entry],
        entry_point=spec.entry_point,
        argv=[entry.name, *spec.parameters],
        env=work.env,
        preopens=preopens,
        staged=staged,
        outputs=[output.host for output in work.outputs],
        memory=work.resources.memory or DEFAULT_MEMORY,
        disk=work.resources.disk,
        timeout=work.timeout,
        stream_cap=work.stream_cap,
    )


def _plain(target: str) -> str:
    return posixpath.normpath("/" + target).lstrip("/")


def _module(mounts: list[Mount], target: str) -> ModuleFile:
    """The mount with this target, the only file in it, or a file below a mounted folder."""
    wanted = _plain(target)
    for mount in mounts:
        base = _plain(mount.target)
        host = Path(mount.host)
        if wanted == base:
            file = _only_file(host, target) if host.is_dir() else host
            return _checked(file, posixpath.basename(wanted) if file is host else file.name)
        if wanted.startswith(base + "/" if base else "") and host.is_dir():
            file = host / wanted[len(base) :].lstrip("/")
            if file.exists() and file.resolve().is_relative_to(host.resolve()):
                return _checked(file, file.name)
    known = ", ".join(sorted(mount.target for mount in mounts)) or "none"
    raise ExecutionFailed(
        refusal(f"no input source has the module's target {target!r}", f"targets of this task: {known}")
    )


def _only_file(folder: Path, target: str) -> Path:
    files = sorted(entry for entry in folder.iterdir() if entry.is_file())
    if len(files) == 1:
        return files[0]
    raise ExecutionFailed(
        refusal(
            f"the input source at {target!r} holds {len(files)} files, and a module must be one of them",
            f"name the file, for example {target.rstrip('/')}/main.wasm",
        )
    )


def _checked(file: Path, name: str) -> ModuleFile:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise ExecutionFailed(refusal(f"module {name} cannot be read: {error.strerror}", retryable=True)) from error
    if size > MODULE_CAP:
        message = f"module {name} has {size} bytes, more than the {MODULE_CAP} that are allowed"
        raise ExecutionFailed(refusal(message, "strip debug sections (wasm-strip), or split the program"))
    return ModuleFile(str(file), name)


def _check_texts(parameters: list[str], env: dict[str, str]) -> None:
    for text in (*parameters, *env, *env.values()):
        if "\0" in text:
            raise ExecutionFailed(refusal("a parameter or environment variable holds a NUL byte"))
    for name in env:
        if not name or "=" in name:
            raise ExecutionFailed(refusal(f"{name!r} is not a name for an environment variable"))


def _folders(work: Work, modules: set[str]) -> tuple[list[Preopen], list[StagedFile]]:
    preopens: list[Preopen] = []
    staged: list[StagedFile] = []
    for mount in work.mounts:
        host = Path(mount.host)
        if host.is_dir():
            preopens.append(Preopen(mount.host, mount.target, writable=not mount.read_only))
        elif not host.exists():
            raise ExecutionFailed(refusal(f"the input for {mount.target!r} is not on this box", retryable=True))
        elif mount.host not in modules:
            guest, name = posixpath.split(mount.target)
            staged.append(StagedFile(mount.host, guest or ".", name or host.name, writable=not mount.read_only))
    for output in work.outputs:
        Path(output.host).mkdir(parents=True, exist_ok=True)
        preopens.append(Preopen(output.host, output.path, writable=True))
    return preopens, staged


def installed_version() -> str:
    """The version of wasmtime on this box without importing it; empty when there is none."""
    spec = importlib.util.find_spec("wasmtime")
    if spec is None or spec.origin is None:
        return ""
    found = sorted(Path(spec.origin).parents[1].glob("wasmtime-*.dist-info"))
    return found[-1].name.removesuffix(".dist-info").removeprefix("wasmtime-") if found else "unknown"
