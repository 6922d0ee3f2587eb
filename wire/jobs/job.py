"""The job specification as types: Bacalhau's v2 job with Tender's own fields, frozen, with defaults.

Attributes are snake_case here and PascalCase on the wire. What comes from outside is read by
`wire/jobs/parse.py` (any case of keys, durations as text) and checked by `wire/jobs/rules.py`; the
shape that Bacalhau's clients expect is written by `wire/jobs/shape.py`. Between our own parts the
structs travel and are stored as they are (`msgspec.json`), so durations are seconds here.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

JOB_TYPES = ("batch", "service", "ops", "daemon")
ENDING_TYPES = ("batch", "ops")
COUNTED_TYPES = ("batch", "service")
RECONCILE = ("first_result", "keep_original", "keep_replacement")
RETRY_ON = ("system", "exit", "timeout", "reboot")
NETWORKS = ("Default", "None", "Host", "Bridge", "HTTP", "Full")
COMPRESSIONS = ("", "none", "gzip")
BANDWIDTH_CLASSES = ("urgent", "normal", "bulk")
RANKERS = (
    "engine", "publisher", "inputs", "labels", "size", "room", "locality", "spread", "failures", "failed_here",
    "score", "cost", "hook",
)  # fmt: skip
"""What a bid's rank is summed from; `Bidding.Weights` and the hub's configuration may weigh each."""
FAVOUR = "favour_"
FORWARD = "env:"
"""Begins the value of a variable that the node fills in, from its own that is named behind it."""

Seconds = Annotated[float, Meta(extra={"reads": "duration"})]
WholeSeconds = Annotated[int, Meta(extra={"reads": "whole duration"})]
Quantity = Annotated[str, Meta(extra={"reads": "quantity"})]


class Engine(Struct, frozen=True, gc=False, rename="pascal"):
    """What runs the task. `params` keep the spelling they came in; `wire/jobs/params.py` reads them."""

    type: str = ""
    params: dict[str, object] = {}


class Publisher(Struct, frozen=True, gc=False, rename="pascal"):
    """Where results go. An empty type means nowhere but the node and the status."""

    type: str = ""
    params: dict[str, object] = {}


class Source(Struct, frozen=True, gc=False, rename="pascal"):
    """Where an input comes from."""

    type: str = ""
    params: dict[str, object] = {}


class InputSource(Struct, frozen=True, gc=False, rename="pascal"):
    """Data shown to the work at `target`."""

    source: Source = Source()
    alias: str = ""
    target: str = ""


class ResultPath(Struct, frozen=True, gc=False, rename="pascal"):
    """A folder of the work that is kept as a named output."""

    name: str = ""
    path: str = ""


class ResourcesSpec(Struct, frozen=True, gc=False, rename="pascal"):
    """Amounts as text, lower-cased and without spaces; `wire.quantities.resources` turns them into numbers."""

    cpu: Quantity = field(default="", name="CPU")
    memory: Quantity = ""
    disk: Quantity = ""
    gpu: Quantity = field(default="", name="GPU")


class Port(Struct, frozen=True, gc=False, rename="pascal"):
    """A port of the work; without `static` the node picks one."""

    name: str = ""
    static: int = 0
    target: int = 0
    host_network: str = ""


class Network(Struct, frozen=True, gc=False, rename="pascal"):
    """What the work may reach and by which ports it is reached."""

    type: str = "Default"
    domains: list[str] = []
    ports: list[Port] = []


class Timeouts(Struct, frozen=True, gc=False, rename="pascal"):
    """Limits in seconds; 0 means none."""

    execution_timeout: WholeSeconds = 0
    queue_timeout: WholeSeconds = 0
    total_timeout: WholeSeconds = 0


class Secret(Struct, frozen=True, gc=False, rename="pascal"):
    """A reference to a secret that the node holds, shown to the work as the file `target`. Never a value."""

    name: str = ""
    ref: str = ""
    target: str = ""


class Task(Struct, frozen=True, gc=False, rename="pascal"):
    """What one execution does."""

    name: str = "main"
    engine: Engine = Engine()
    publisher: Publisher = Publisher()
    env: dict[str, str] = {}
    meta: dict[str, str] = {}
    input_sources: list[InputSource] = []
    result_paths: list[ResultPath] = []
    resources: ResourcesSpec = ResourcesSpec()
    network: Network = Network()
    timeouts: Timeouts = Timeouts()
    secrets: list[Secret] = []


class Constraint(Struct, frozen=True, gc=False, rename="pascal"):
    """A condition on a node's labels; the key prefix `favour_` turns it into a wish."""

    key: str = ""
    operator: str = ""
    values: list[str] = []


class Disconnect(Struct, frozen=True, gc=False, rename="pascal"):
    """What happens while a node is out of reach. `lost_after` None: never."""

    lost_after: Seconds | None = 3600.0
    replace: bool = True
    reconcile: str = "first_result"
    stop_on_node_after: Seconds | None = None


class Retry(Struct, frozen=True, gc=False, rename="pascal"):
    """How often and how patiently a failed slot is tried again, and after which kinds of failure."""

    attempts: int = 3
    delay: Seconds = 5.0
    max_delay: Seconds = 300.0
    on: list[str] = field(default_factory=lambda: list(RETRY_ON))


class Bidding(Struct, frozen=True, gc=False, rename="pascal"):
    """This job's own auction; None and empty mean the hub's profile."""

    window: Seconds | None = None
    candidates: int | None = None
    min_bids: int | None = None
    weights: dict[str, float] = {}


class Update(Struct, frozen=True, gc=False, rename="pascal"):
    """How a new version of a service or daemon job replaces the old one, in Nomad's words.

    `max_parallel` slots or nodes are between the two versions at a time; 0 replaces all at once. One is healthy when
    it has run for `min_healthy_time`. The rollout has failed when nothing more became healthy for `healthy_deadline`.
    """

    max_parallel: int = 1
    min_healthy_time: Seconds = 10.0
    healthy_deadline: Seconds = 300.0
    auto_revert: bool = False


class ResultPolicy(Struct, frozen=True, gc=False, rename="pascal"):
    """How results are packed and carried. `encrypt` is the reader's X25519 public key in base64."""

    compress: str = ""
    encrypt: str = ""
    keep_local_for: Seconds | None = None
    priority: int = 0
    bandwidth_class: str = "normal"


class Job(Struct, frozen=True, gc=False, rename="pascal"):
    """One job as its owner wrote it, with defaults filled in; what the hub knows of it lives elsewhere."""

    name: str = ""
    namespace: str = "default"
    type: str = ""
    priority: int = 0
    count: int = 1
    constraints: list[Constraint] = []
    meta: dict[str, str] = {}
    labels: dict[str, str] = {}
    tasks: list[Task] = []
    disconnect: Disconnect = Disconnect()
    retry: Retry = Retry()
    success_exit_codes: list[int] = field(default_factory=lambda: [0])
    bidding: Bidding = Bidding()
    update: Update = Update()
    result_policy: ResultPolicy = ResultPolicy()

    @property
    def task(self) -> Task:
        """The one task that a job has."""
        return self.tasks[0]


class JobDefaults(Struct, frozen=True, gc=False):
    """What a hub fills in where a job of one type says nothing. Only jobs that end have a publisher and time-outs."""

    priority: int = 0
    resources: ResourcesSpec = ResourcesSpec()
    publisher: Publisher = Publisher()
    timeouts: Timeouts = Timeouts()


def disconnect_for(job_type: str) -> Disconnect:
    """The default for a type: batch is replaced after an hour, the others wait for their node."""
    return Disconnect() if job_type == "batch" else Disconnect(lost_after=None, replace=False)
