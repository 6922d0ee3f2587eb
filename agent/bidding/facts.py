"""What a decision looks at: the node as it stands, and what its plug-ins say about one job."""

import asyncio
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.bidding.capacity import with_fallback
from agent.executors.base import EngineFacts, Executor
from agent.inputs.base import Estimate, InputSource
from agent.publishers.base import Publisher
from wire.failures import Reason
from wire.jobs.job import InputSource as InputSpec
from wire.jobs.job import Job
from wire.jobs.params import engine_kind, plugin_kind
from wire.resources import Resources
from wire.states import NodeState

PATIENCE = 5.0
"""Seconds that a plug-in gets for an answer that ought to be cheap."""


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """The node now. Names of engines, inputs and publishers are canonical: `wire.jobs.params` makes them so.

    `environment` is what `env:NAME` may be taken from; `ports` are the host ports that executions use;
    `devices` are the GPUs that can be handed to a container, by their CDI names;
    `health` is pass, warn or fail by check; `shortage` says which descriptors or processes are short.
    """

    node_id: str
    state: NodeState = NodeState.ONLINE
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    engines: Mapping[str, EngineFacts] = field(default_factory=dict[str, EngineFacts])
    inputs: frozenset[str] = frozenset()
    publishers: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    ports: frozenset[int] = frozenset()
    devices: tuple[str, ...] = ()
    health: Mapping[str, str] = field(default_factory=dict[str, str])
    shortage: tuple[Reason, ...] = ()

    def labelled(self, given: Mapping[str, str]) -> "NodeFacts":
        """With the labels that operators gave at the hub; the owner's own win."""
        return dataclasses.replace(self, labels={**given, **self.labels}) if given else self


@dataclass(frozen=True, kw_only=True)
class InputFact:
    """One input of the job; `estimate` is None when no source on this node knows its type."""

    spec: InputSpec
    estimate: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """The job and what the plug-ins say. `needed` is the request with fallbacks and the size of the inputs."""

    job: Job
    needed: Resources
    inputs: tuple[InputFact, ...] = ()
    engine_refusals: tuple[Reason, ...] = ()
    publisher_refusals: tuple[Reason, ...] = ()
    execution_id: str = ""


@dataclass(frozen=True)
class Facts:
    """All that a decision looks at."""

    node: NodeFacts
    job: JobFacts


@dataclass(frozen=True)
class Plugins:
    """What this node can use, by canonical type (`podman`, `wasm`, `s3`, `urldownload` …)."""

    executors: Mapping[str, Executor]
    inputs: Mapping[str, InputSource]
    publishers: Mapping[str, Publisher]


async def gather(
    job: Job, requested: Resources, plugins: Plugins, *, input_sizes: Mapping[str, int] | None = None
) -> JobFacts:
    """Ask the plug-ins about a job. A plug-in that fails or hangs refuses; this never raises for it."""
    task = job.task
    # One after another and without tasks of their own: an answer that needs no waiting then costs no turn of the loop.
    engine = await _ask_engine(job, plugins)
    publisher = await _ask_publisher(job, plugins)
    found = [await _look_at(spec, plugins) for spec in task.input_sources]
    known = input_sizes or {}
    # Data that is here already takes no further room; a size the hub knows stands in for one we do not.
    sizes = [
        0 if one.estimate is None or one.estimate.local else one.estimate.size or known.get(one.spec.target, 0)
        for one in found
    ]
    needed = with_fallback(requested)
    return JobFacts(
        job=job,
        needed=needed + Resources(disk=sum(max(0, size) for size in sizes)),
        inputs=tuple(found),
        engine_refusals=engine,
        publisher_refusals=publisher,
    )


async def _ask_engine(job: Job, plugins: Plugins) -> tuple[Reason, ...]:
    engine = job.task.engine
    executor = plugins.executors.get(engine_kind(engine.type))
    if executor is None:
        return ()
    try:
        async with asyncio.timeout(PATIENCE):
            return tuple(await executor.refusals(engine.type, engine.params))
    except Exception as error:  # noqa: BLE001 - a plug-in's bug must not stop the node from answering
        return (_broken("engine", engine.type, error),)


async def _ask_publisher(job: Job, plugins: Plugins) -> tuple[Reason, ...]:
    wanted = job.task.publisher
    publisher = plugins.publishers.get(plugin_kind(wanted.type))
    if publisher is None:
        return ()
    try:
        async with asyncio.timeout(PATIENCE):
            return tuple(await publisher.refusals(wanted.params))
    except Exception as error:  # noqa: BLE001 - as above
        return (_broken("publisher", wanted.type, error),)


async def _look_at(spec: InputSpec, plugins: Plugins) -> InputFact:
    source = plugins.inputs.get(plugin_kind(spec.source.type))
    if source is None:
        return InputFact(spec=spec)
    try:
        async with asyncio.timeout(PATIENCE):
            return InputFact(spec=spec, estimate=await source.estimate(spec.source.params))
    except Exception as error:  # noqa: BLE001 - as above
        return InputFact(spec=spec, estimate=Estimate(refusals=[_broken("input", spec.source.type, error)]))


def _broken(part: str, name: str, error: Exception) -> Reason:
    what = f"gave no answer within {PATIENCE:g} s" if isinstance(error, TimeoutError) else f"failed: {error}"
    return Reason(f"{part}-failed", f"the {part} {name} {what}", "look at the agent's log with this time")
