"""Does a Podman service answer?"""

import shutil

from agent.config import AgentConfig
from agent.executors.http_network import ENFORCED, enforcement
from agent.executors.podman_socket import look
from agent.offers import usual_socket
from wire.findings import Finding
from wire.params import engine_kind


async def check(config: AgentConfig) -> Finding:
    if "podman" in {engine_kind(name) for name in config.engines.disabled}:
        return Finding("podman", "pass", "switched off by the owner")
    if config.podman.managed:
        if shutil.which("podman") is None:
            return Finding("podman", "fail", "podman is not installed", "apt-get install podman runc")
        return Finding("podman", "pass", "the agent starts a private service")
    socket = config.podman.socket or usual_socket()
    facts = await look(socket, 5.0)
    if facts.available:
        held = enforcement(socket, rootless=facts.detail.get("rootless") == "true")
        domains = "jobs with Domains are taken" if held == ENFORCED else f"no jobs with Domains: {held}"
        return Finding("podman", "pass", f"Podman {facts.version} on {socket}; {domains}")
    remedy = "systemctl enable --now podman.socket, or set podman.managed = true, or leave it: WASM needs no Podman"
    return Finding("podman", "warn", facts.why[:300], remedy)
