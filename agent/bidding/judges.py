"""The node's pure checks on one job. Each gives its reasons against; all are collected, so the owner sees them all."""

from collections.abc import Callable
from dataclasses import dataclass, field

from agent.bidding.facts import Facts
from agent.bidding.room import Room, room_reasons
from agent.settings.config import AgentConfig, BiddingSettings
from agent.steps import networks, variables
from wire.failures import Reason
from wire.jobs import constraints
from wire.jobs.job import InputSource
from wire.jobs.params import engine_kind, plugin_kind
from wire.states import NodeState


@dataclass(frozen=True)
class Rules:
    """The owner's part of the judgement."""

    bidding: BiddingSettings = field(default_factory=BiddingSettings)
    engines_disabled: tuple[str, ...] = ()
    env_allow: tuple[str, ...] = ()
    allow_unenforced: bool = False

    @classmethod
    def of(cls, config: AgentConfig) -> "Rules":
        engines = config.engines
        return cls(config.bidding, tuple(engines.disabled), tuple(config.env.allow), engines.allow_unenforced_limits)


def judge(facts: Facts, room: Room, rules: Rules) -> list[Reason]:
    """All reasons against the job, cheap checks first; empty is yes."""
    reasons = [reason for check in JUDGES for reason in check(facts, rules)]
    reasons += room_reasons(facts.job.needed, room) + gpu_is_given(facts, room, rules)
    return list({(reason.code, reason.message): reason for reason in reasons}.values())


def node_takes_work(facts: Facts, rules: Rules) -> list[Reason]:
    del rules
    node = facts.node
    if node.state is NodeState.ONLINE:
        return []
    return [Reason(str(node.state), f"this node takes no new work, it is {node.state}", "try another node")]


def engine_is_here(facts: Facts, rules: Rules) -> list[Reason]:
    written = facts.job.job.task.engine.type
    kind = engine_kind(written)
    if kind in {engine_kind(name) for name in rules.engines_disabled}:
        return [_engine(f"the owner has switched off the engine {written} on this node")]
    engine = facts.node.engines.get(kind)
    if engine is None:
        known = ", ".join(sorted(name for name, one in facts.node.engines.items() if one.available)) or "none"
        return [_engine(f"needs the engine {written}, this node has {known}")]
    if not engine.available:
        return [_engine(f"the engine {written} cannot be used now: {engine.why or 'no reason given'}", retryable=True)]
    return list(facts.job.engine_refusals)


def publisher_is_here(facts: Facts, rules: Rules) -> list[Reason]:
    del rules
    written = facts.job.job.task.publisher.type
    if plugin_kind(written) in {"", "noop"}:
        return []
    if plugin_kind(written) not in facts.node.publishers:
        known = ", ".join(sorted(facts.node.publishers)) or "none"
        message = f"needs the publisher {written}, this node has {known}"
        return [Reason("publisher", message, f"use one of {known}", retryable=False)]
    return list(facts.job.publisher_refusals)


def inputs_can_be_had(facts: Facts, rules: Rules) -> list[Reason]:
    """Types that no source here knows, and what the sources refuse (a local path that is not on the owner's list)."""
    del rules
    reasons: list[Reason] = []
    for one in facts.job.inputs:
        if one.estimate is None:
            known = ", ".join(sorted(facts.node.inputs)) or "none"
            message = f"needs the input source {one.spec.source.type}, this node has {known}"
            reasons.append(Reason("input", message, f"use one of {known}", retryable=False))
        else:
            reasons += one.estimate.refusals
    return reasons


def labels_match(facts: Facts, rules: Rules) -> list[Reason]:
    del rules
    labels = facts.node.labels
    return [
        Reason("label", constraints.explain(one, labels), "change the constraint or label a node so", retryable=False)
        for one in constraints.unmet(facts.job.job.constraints, labels)
    ]


def network_is_given(facts: Facts, rules: Rules) -> list[Reason]:
    task = facts.job.job.task
    engine = facts.node.engines.get(engine_kind(task.engine.type))
    reason = networks.refusal(task, engine, rejected=rules.bidding.reject_networked)
    return [reason] if reason else []


def gpu_is_given(facts: Facts, room: Room, rules: Rules) -> list[Reason]:
    """A GPU counts only if it can be handed to the work and to nobody else: to containers, by CDI."""
    needed, written = facts.job.needed.gpu, facts.job.job.task.engine.type
    engine = facts.node.engines.get(engine_kind(written))
    if not 0 < needed <= room.total.gpu or rules.allow_unenforced or engine is None or not engine.available:
        return []
    if engine_kind(written) != "podman":
        hint = "run it as a container, or leave GPU out"
        return [Reason("gpu", f"the engine {written} has no way to a GPU", hint, retryable=False)]
    if engine.detail.get("cdi") != "yes":
        hint = "Podman hands out devices by CDI from release 4.1 on"
        message = f"Podman {engine.version} of this node cannot hand a GPU to a job"
        return [Reason("gpu", message, hint, retryable=False)]
    if len(facts.node.devices) < needed:
        hint = "its owner describes them for Podman: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
        message = (
            f"needs {needed} GPU, {len(facts.node.devices)} of this node's {room.total.gpu} have a CDI description"
        )
        return [Reason("gpu", message, hint, retryable=False)]
    return []


def disk_is_sound(facts: Facts, rules: Rules) -> list[Reason]:
    del rules
    if facts.node.health.get("disk") != "fail":
        return []
    return [Reason("no-disk", "the disk of this node is nearly full", "wait, or use another node")]


def work_can_be_started(facts: Facts, rules: Rules) -> list[Reason]:
    del rules
    return list(facts.node.shortage)


def has_inputs(facts: Facts, rules: Rules) -> list[Reason]:
    if not rules.bidding.reject_stateless or facts.job.job.task.input_sources:
        return []
    message = "this node takes only jobs with inputs, this one has none"
    return [Reason("stateless", message, "add an input source or use another node", retryable=False)]


def data_is_here(facts: Facts, rules: Rules) -> list[Reason]:
    if rules.bidding.locality != "local":
        return []
    away = [one for one in facts.job.inputs if one.estimate is not None and not one.estimate.local]
    hint = "bring the data to the node first, or use one with locality anywhere"
    return [
        Reason("locality", f"the input {_input_name(one.spec)} is not on this node, which takes only local data", hint)
        for one in away
    ]


def variables_may_be_had(facts: Facts, rules: Rules) -> list[Reason]:
    return variables.refusals(facts.job.job.task.env, rules.env_allow, facts.node.environment)


def ports_are_free(facts: Facts, rules: Rules) -> list[Reason]:
    del rules
    wanted = [port.static for port in facts.job.job.task.network.ports if port.static]
    return [
        Reason("port", f"port {port} is in use on this node", "leave Static out to get a free port")
        for port in wanted
        if port in facts.node.ports
    ]


JUDGES: tuple[Callable[[Facts, Rules], list[Reason]], ...] = (
    node_takes_work,
    engine_is_here,
    publisher_is_here,
    disk_is_sound,
    work_can_be_started,
    network_is_given,
    has_inputs,
    labels_match,
    ports_are_free,
    variables_may_be_had,
    inputs_can_be_had,
    data_is_here,
)


def _engine(message: str, *, retryable: bool = False) -> Reason:
    return Reason("engine", message, "see what a node offers with: tender node describe", retryable=retryable)


def _input_name(spec: InputSource) -> str:
    return spec.alias or spec.target or spec.source.type
