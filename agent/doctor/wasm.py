"""Can WASM programs run?"""

from pathlib import Path

from agent.executors.wasm import WasmExecutor
from agent.settings.config import AgentConfig
from wire.jobs.params import engine_kind
from wire.operating.findings import Finding

FLOOR = 50


async def check(config: AgentConfig) -> Finding:
    if "wasm" in {engine_kind(name) for name in config.engines.disabled}:
        return Finding("wasmtime", "pass", "switched off by the owner")
    facts = await WasmExecutor(Path(config.data_dir) / "executions", Path(config.data_dir) / "modules").facts()
    if not facts.available:
        return Finding("wasmtime", "warn", facts.why, "pip install 'tender[agent]'")
    major = facts.version.partition(".")[0]
    if major.isdigit() and int(major) < FLOOR:
        remedy = "upgrade: older releases let a program out of its sandbox (RUSTSEC-2026-0269)"
        return Finding("wasmtime", "fail", f"wasmtime {facts.version}", remedy)
    return Finding("wasmtime", "pass", f"wasmtime {facts.version}")
