"""The node as it stands: what it can do, as the hub is told, and what each decision looks at."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping

from agent.bidding.facts import NodeFacts, Plugins
from agent.capabilities.probe import Probe
from agent.capabilities.shortage import Shortage
from wire.messages import Capabilities, Check
from wire.states import NodeState

ENGINES_TOLD = 6
WHY_CAP = 120
"""Characters of the reason why an engine is not there."""


class Standing:
    """Follows what changes while the agent runs. The composition root sets `now` and `changed`."""

    def __init__(self, node_id: str, probe: Probe, plugins: Plugins) -> None:
        self._node_id, self._probe, self._plugins = node_id, probe, plugins
        self.capabilities = Capabilities(ep=0)
        self._facts = NodeFacts(node_id=node_id)
        self._shortage = Shortage()
        self.now: Callable[[], tuple[NodeState, frozenset[int], Mapping[str, str]]] = lambda: (
            self._facts.state,
            self._facts.ports,
            self._facts.health,
        )
        """State, host ports in use, and verdicts of the health checks."""
        self.changed: Callable[[], Awaitable[None]] | None = None
        """What the node can do is another than before; not called for the first look."""

    def facts(self) -> NodeFacts:
        """For a decision. The same value as long as nothing has changed."""
        (state, ports, health), short = self.now(), self._shortage.reasons()
        old = self._facts
        if (state, ports, short) != (old.state, old.ports, old.shortage) or health is not old.health:
            self._facts = dataclasses.replace(old, state=state, ports=ports, health=health, shortage=short)
        return self._facts

    async def look(self) -> None:
        """Ask the engines again."""
        before = self.capabilities
        found = await self._probe.collect()
        if found == before:
            return
        self.capabilities = found
        self._facts = NodeFacts(
            node_id=self._node_id,
            state=self.now()[0],
            labels=found.labels,
            engines=self._probe.engines,
            inputs=frozenset(self._plugins.inputs),
            publishers=frozenset(self._plugins.publishers),
            devices=self._probe.devices,
        )
        if before.name and self.changed is not None:
            await self.changed()

    def checks(self) -> list[Check]:
        """A warning for each engine that is not there; a failure where descriptors or processes are short."""
        missing = list(self.capabilities.unavailable.items())[:ENGINES_TOLD]
        away = [Check(f"engine-{name}", "warn", why[:WHY_CAP]) for name, why in missing]
        return [*self._shortage.checks(), *away]
