"""Does a Podman service answer?"""

import shutil
from pathlib import Path

from agent.executors.http_network import ENFORCED, enforcement
from agent.executors.podman_socket import look
from agent.offers import usual_socket
from agent.settings.config import AgentConfig
from wire.jobs.params import engine_kind
from wire.operating.findings import Finding

UNIT = Path("/etc/systemd/system/tender-agent.service")
OWN_UNIT = 'systemctl enable --now tender-podman, and set podman.socket = "/run/tender-podman/podman.sock"'


async def check(config: AgentConfig) -> Finding:
    if "podman" in {engine_kind(name) for name in config.engines.disabled}:
        return Finding("podman", "pass", "switched off by the owner")
    if config.podman.managed:
        if shutil.which("podman") is None:
            return Finding("podman", "fail", "podman is not installed", "apt-get install podman runc")
        if _has_unit():
            return Finding("podman", "warn", "under its unit the agent can start no private service", OWN_UNIT)
        return Finding("podman", "pass", "the agent starts a private service")
    socket = config.podman.socket or usual_socket()
    facts = await look(socket, 5.0)
    if facts.available:
        held = enforcement(socket, rootless=facts.detail.get("rootless") == "true")
        domains = "jobs with Domains are taken" if held == ENFORCED else f"no jobs with Domains: {held}"
        return Finding("podman", "pass", f"Podman {facts.version} on {socket}; {domains}")
    remedy = OWN_UNIT if _has_unit() else "set podman.managed = true, or podman.socket to one that answers"
    remedy += "; or leave it: WASM needs no Podman"
    return Finding("podman", "warn", facts.why[:300], remedy)


def _has_unit() -> bool:
    return UNIT.exists()
