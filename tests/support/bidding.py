"""A node and a job as the judges see them, small by default and changed by keyword."""

from agent.bidding.capacity import Ledger
from agent.bidding.facts import Facts, InputFact, JobFacts, NodeFacts
from agent.bidding.room import Room
from agent.executors.base import EngineFacts
from agent.inputs.base import Estimate
from agent.settings.limits import Capacity
from wire.failures import Reason
from wire.jobs.job import Constraint, Engine, InputSource, Job, Network, Port, Publisher, Source, Task
from wire.messages import Invitation
from wire.resources import Resources
from wire.states import JobType, NodeState

GB = 10**9
MB = 10**6
CAPACITY = Capacity(
    total=Resources(cpu=4, memory=8 * GB, disk=100 * GB), per_job=Resources(cpu=2, memory=1900 * MB, disk=100 * GB)
)


def ledger(capacity: Capacity = CAPACITY, *, slots: int = 10) -> Ledger:
    return Ledger(capacity, max_executions=slots)


def node(
    *,
    state: NodeState = NodeState.ONLINE,
    labels: dict[str, str] | None = None,
    engines: dict[str, EngineFacts] | None = None,
    environment: dict[str, str] | None = None,
    ports: frozenset[int] = frozenset(),
    health: dict[str, str] | None = None,
) -> NodeFacts:
    offered = {"wasm": EngineFacts(available=True), "podman": EngineFacts(available=False, why="no socket")}
    return NodeFacts(
        node_id="n-1",
        state=state,
        labels=labels or {"region": "eu"},
        engines=offered if engines is None else engines,
        inputs=frozenset({"inline", "local"}),
        publishers=frozenset({"local"}),
        environment=environment or {},
        ports=ports,
        health=health or {"disk": "pass"},
    )


def job(
    *,
    engine: str = "wasm",
    publisher: str = "",
    constraints: list[Constraint] | None = None,
    env: dict[str, str] | None = None,
    network: str = "Default",
    ports: list[int] | None = None,
    inputs: list[InputSource] | None = None,
    name: str = "j",
) -> Job:
    task = Task(
        engine=Engine(engine),
        publisher=Publisher(publisher),
        env=env or {},
        network=Network(network, ports=[Port(f"p{port}", static=port) for port in ports or []]),
        input_sources=inputs or [],
    )
    return Job(name=name, type="batch", constraints=constraints or [], tasks=[task])


def local_input(*, local: bool = True, refusals: list[Reason] | None = None) -> InputFact:
    return InputFact(
        spec=InputSource(Source("local"), alias="data", target="/data"),
        estimate=Estimate(local=local, size=5, refusals=refusals or []),
    )


def unknown_input() -> InputFact:
    return InputFact(spec=InputSource(Source("ipfs"), target="/ipfs"))


def facts(
    the_job: Job | None = None,
    the_node: NodeFacts | None = None,
    *,
    needed: Resources = Resources(cpu=0.1, memory=100 * MB),  # noqa: B008 - frozen
    inputs: tuple[InputFact, ...] = (),
    engine_refusals: tuple[Reason, ...] = (),
    publisher_refusals: tuple[Reason, ...] = (),
) -> Facts:
    about = JobFacts(
        job=the_job or job(),
        needed=needed,
        inputs=inputs,
        engine_refusals=engine_refusals,
        publisher_refusals=publisher_refusals,
    )
    return Facts(the_node or node(), about)


def room(**changes: Resources | int) -> Room:
    base: dict[str, Resources | int] = {
        "total": CAPACITY.total,
        "per_job": CAPACITY.per_job,
        "free": CAPACITY.total,
        "slots": 10,
    }
    return Room(**(base | changes))  # pyright: ignore[reportArgumentType] - chosen by name


def invitation(tender_id: str = "t-1", *, hold_ttl: float = 60.0) -> Invitation:
    return Invitation(
        ep=1,
        tender_id=tender_id,
        job_id="j-1",
        job_type=JobType.BATCH,
        requested=Resources(cpu=0.1),
        window=2.0,
        hold_ttl=hold_ttl,
    )
