"""Puts all facts together into what the node publishes, and tells whether anything has changed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.capabilities import cgroup, engines, gpu, host
from agent.capabilities.labels import labels
from agent.executors.base import EngineFacts, Executor
from agent.settings.config import AgentConfig
from agent.settings.limits import Capacity, resolve
from wire.jobs.params import engine_kind
from wire.messages import Capabilities
from wire.quantities import format_cpu, format_size


class Probe:
    """Looks at the box.

    What the box has is looked up once, at start: free disk shrinks by the work itself, and a capacity that
    followed it would count that work twice. Engines are asked each time.
    """

    def __init__(
        self,
        config: AgentConfig,
        executors: Mapping[str, Executor],
        *,
        inputs: frozenset[str] = frozenset(),
        publishers: frozenset[str] = frozenset(),
        version: str = "",
    ) -> None:
        self._config, self._executors, self._version = config, executors, version
        self._inputs, self._publishers = inputs, publishers
        self._host: host.HostFacts | None = None
        self._gpus: list[gpu.Gpu] = []
        self._same: Capabilities | None = None
        """What does not change while the agent runs."""
        self._told: Capabilities | None = None
        """What `collect` found last."""
        self._off = frozenset(engine_kind(name) for name in config.engines.disabled)
        self.engines: dict[str, EngineFacts] = {}

    async def start(self) -> Capacity:
        """Detect the hardware and resolve the owner's limits. Raises InvalidRequest for impossible ones."""
        self._host = host.look(Path(self._config.data_dir))
        self._gpus = await gpu.look()
        capacity = resolve(self._config.limits, self._host.resources(len(self._gpus)))
        self._same = self._lasting(capacity)
        return capacity

    @property
    def host(self) -> host.HostFacts:
        if self._host is None:
            raise RuntimeError("the probe has not been started")
        return self._host

    @property
    def devices(self) -> tuple[str, ...]:
        """The GPUs that a container can be given, by their CDI names."""
        return tuple(one.cdi for one in self._gpus if one.cdi)

    @property
    def name(self) -> str:
        return self._config.name or self.host.hostname

    @property
    def labels(self) -> dict[str, str]:
        return labels(self.host, self._gpus, self.name, self._config.labels)

    async def collect(self, ep: int = 0) -> Capabilities:
        """All that the node says of itself, now."""
        if self._same is None:
            raise RuntimeError("the probe has not been started")
        found = await engines.look(self._executors, self._off)
        if self._told is None or found != self.engines:
            self.engines = found
            self._told = msgspec.structs.replace(
                self._same, engines=engines.usable(found), unavailable=engines.unusable(found)
            )
        return msgspec.structs.replace(self._told, ep=ep) if ep else self._told

    def _lasting(self, capacity: Capacity) -> Capabilities:
        link = self._config.link
        return Capabilities(
            ep=0,
            name=self.name,
            agent=self._version,
            inputs=sorted(self._inputs - {name.lower() for name in self._config.inputs.disabled}),
            publishers=sorted(self._publishers - {name.lower() for name in self._config.publishers.disabled}),
            labels=self.labels,
            hooks=[hook.name for hook in self._config.bidding.hooks],
            total=capacity.total,
            per_job=capacity.per_job,
            hardware=self._hardware(),
            link=link.profile,
            every=int(link.every_seconds) if link.is_sleepy else 0,
        )

    def _hardware(self) -> dict[str, str]:
        here, groups = self.host, cgroup.look()
        known = {
            "cpu": format_cpu(here.cpu),
            "model": here.model,
            "memory": format_size(here.memory),
            "disk": format_size(here.disk),
            "kernel": here.kernel,
            "arch": here.arch,
            "cgroup": groups.version,
            "controllers": " ".join(groups.controllers),
        }
        for number, one in enumerate(self._gpus[:8]):
            memory = f" {format_size(one.memory)}" if one.memory else ""
            handed = f" as {one.cdi[:64]}" if one.cdi else ""
            known[f"gpu{number}"] = f"{one.vendor} {one.name}{memory}{handed}"
        return {key: value for key, value in known.items() if value}


def fingerprint(capabilities: Capabilities) -> str:
    """A short hash of everything but the epoch, by which `state` and `health` tell the hub whether it is up to date."""
    body = msgspec.json.encode(msgspec.structs.replace(capabilities, ep=0, digest=""), order="sorted")
    return hashlib.sha256(body).hexdigest()[:16]
