"""One frozen struct per message. Each declares how it travels: channel, QoS, retained, expiry and size cap.

Callers never choose these. Unknown fields are ignored, so an additive change keeps the version.
"""

from typing import Annotated, ClassVar, TypeVar

import msgspec
from msgspec import Meta

from wire.failures import InvalidRequest, Reason, TooLarge
from wire.jobs.job import Job
from wire.resources import Resources
from wire.signing import OVERHEAD
from wire.states import Desired, ExecutionState, JobType, NodeState
from wire.topics import Channel

KIB = 1024
Number = Annotated[int, Meta(ge=0, lt=2**53)]
"""A number that counts: never below zero, and one that every database and every JSON reader can hold."""


class Policy(msgspec.Struct, frozen=True):
    """How a message travels. `expiry` in seconds, None for never; `cap` in bytes of the envelope."""

    channel: Channel
    cap: int
    retain: bool = False
    expiry: int | None = None
    qos: int = 1


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all messages. `ep` is the writer's epoch: +1 before every CONNECT, persisted."""

    policy: ClassVar[Policy]
    ep: Number


# --- what a node says of itself -------------------------------------------------------------------


class NodeStatus(Message, frozen=True):
    """Presence, retained; also the will. `next` is the health interval or seconds to the planned wake.

    `run` is a random name of the process that speaks, empty in wills: two that come by turns are two boxes.
    """

    policy: ClassVar[Policy] = Policy(Channel.STATE, 512, retain=True)
    state: NodeState
    since: int = 0
    why: str = ""
    next: int = 0
    agent: str = ""
    caps: str = ""
    run: Annotated[str, Meta(max_length=16)] = ""


class EngineCapability(msgspec.Struct, frozen=True, omit_defaults=True):
    """One usable execution engine: version and details (runtime, cgroup version …)."""

    version: str = ""
    detail: dict[str, str] = {}


class Capabilities(Message, frozen=True):
    """What the box can do, retained, sent on change only. Amounts are what jobs may use in total and each.

    `link` is the link's profile; `every` the seconds from one window of a sleepy link to the next, 0 for one that is
    always open; `digest` what `state` and `health` name it by.
    """

    policy: ClassVar[Policy] = Policy(Channel.CAPS, 8 * KIB, retain=True)
    name: str = ""
    agent: str = ""
    engines: dict[str, EngineCapability] = {}
    inputs: list[str] = []
    publishers: list[str] = []
    labels: dict[str, str] = {}
    hooks: list[str] = []
    total: Resources = Resources()
    per_job: Resources = Resources()
    hardware: dict[str, str] = {}
    unavailable: dict[str, str] = {}
    """Engines that cannot be used here, with the reason."""
    link: str = ""
    every: Number = 0
    digest: str = ""


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One health check. `verdict` is pass, warn or fail; `remedy` is what to do about it."""

    name: str
    verdict: str
    message: str = ""
    remedy: str = ""


class Health(Message, frozen=True):
    """How the box is now, retained; on change of class and each interval."""

    policy: ClassVar[Policy] = Policy(Channel.HEALTH, 2 * KIB, retain=True, expiry=3 * 900)
    free: Resources = Resources()
    running: int = 0
    waiting: int = 0
    outbox: int = 0
    outbox_age: float = 0.0
    held: str = ""
    caps: str = ""
    checks: list[Check] = []
    counters: dict[str, int] = {}


class HeldItem(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One execution on the node: id, the node's version of it, its state."""

    id: str
    ver: Number
    state: ExecutionState


class Held(Message, frozen=True):
    """Digest of all executions on the node and the version of `want` that it has applied, retained."""

    policy: ClassVar[Policy] = Policy(Channel.HELD, 16 * KIB, retain=True)
    want: Number
    items: list[HeldItem]
    told: Number = 0
    page: int = 0
    pages: int = 1


# --- what the hub wants ---------------------------------------------------------------------------


class WantItem(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One execution: id, the hub's version of the wish, what to do."""

    id: str
    ver: Number
    verb: Desired


class Want(Message, frozen=True):
    """The whole desired set of one node, retained."""

    policy: ClassVar[Policy] = Policy(Channel.WANT, 16 * KIB, retain=True)
    ver: Number
    items: list[WantItem]
    page: int = 0
    pages: int = 1


class BlobRef(msgspec.Struct, frozen=True):
    """Bytes by name: SHA-256 in hex and size."""

    sha256: str
    size: int


class Order(Message, frozen=True):
    """The order of one execution. Signed by the hub, it is also the award of its slot.

    `job` is None when it would outgrow the cap; then `job_ref` names the blob that holds it as JSON. `labels` are
    those that operators gave the node at the hub; the owner's own win.
    """

    policy: ClassVar[Policy] = Policy(Channel.SPEC, 64 * KIB, expiry=24 * 3600)
    execution_id: str
    ver: Number
    job_id: str
    job_version: int
    job_type: JobType
    slot: int = 0
    count: int = 1
    tender_id: str = ""
    job: Job | None = None
    job_ref: BlobRef | None = None
    attempt: int = 1
    labels: dict[str, str] = {}


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A status that the hub did not apply, with the hub's current truth."""

    execution_id: str
    state: ExecutionState
    reason: Reason


class Ack(Message, frozen=True):
    """What the hub has committed: the highest contiguous outbox number per lane, receipts and refusals.

    A receipt states that the result of that execution is accepted and stored. The cap is 8 KiB rather
    than the 512 bytes of the first design, because one batch of statuses may complete 60 executions.
    """

    policy: ClassVar[Policy] = Policy(Channel.ACK, 8 * KIB, expiry=24 * 3600)
    lanes: dict[str, int]
    receipts: list[str] = []
    refusals: list[Refusal] = []


# --- the auction ----------------------------------------------------------------------------------


class Invitation(Message, frozen=True):
    """A call for bids for one slot. `window` seconds for the answer, `hold_ttl` seconds to keep resources.

    `exp` is the hub's wall clock (unix seconds) after which the tender is closed, for display only.
    `direct` marks ops and daemon jobs, which every matching node gets without an auction.
    """

    policy: ClassVar[Policy] = Policy(Channel.INVITE, 48 * KIB, expiry=60)
    tender_id: str
    job_id: str
    job_type: JobType
    requested: Resources
    window: float
    hold_ttl: float
    job: Job | None = None
    job_ref: BlobRef | None = None
    input_sizes: dict[str, int] = {}
    labels: dict[str, str] = {}
    exp: int = 0


class Bid(Message, frozen=True):
    """The answer to an invitation: a bid with score, or a decline with all its reasons."""

    policy: ClassVar[Policy] = Policy(Channel.BID, 2 * KIB, expiry=60)
    tender_id: str
    bid: bool
    score: float = 0.0
    cost: float = 0.0
    ttl: float = 30.0
    reasons: list[Reason] = []
    steps: dict[str, float] = {}
    """Milliseconds spent on the node by step (`judges`, `hold`, `hooks`, `commit`)."""
    locality: float = 0.0
    """Which part of the job's inputs lies on the node already, from 0 to 1."""


class Award(Message, frozen=True):
    """How a tender ended for one node. Losers release their hold at once; the winner gets an Order."""

    policy: ClassVar[Policy] = Policy(Channel.AWARD, 512, expiry=60)
    tender_id: str
    outcome: str


# --- what executions report -----------------------------------------------------------------------


class ResultRef(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where a result lies. `manifest` is the SHA-256 of its manifest and the result's identity."""

    manifest: str
    files: int
    size: int
    type: str
    params: dict[str, str] = {}
    signature: str = ""


class ExecutionStatus(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The full observed state of one execution, never a delta. `at` is the node's clock in unix ns."""

    id: str
    ver: Number
    state: ExecutionState
    at: int = 0
    reason: Reason | None = None
    exit_code: int | None = None
    stdout: str = ""
    stdout_truncated: bool = False
    stderr: str = ""
    stderr_truncated: bool = False
    result: ResultRef | None = None
    attempts: int = 1
    steps: dict[str, float] = {}


class NodeEvent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One event of an execution; with an empty `execution_id` one of the node itself."""

    execution_id: str
    topic: str
    message: str
    at: int = 0
    details: dict[str, str] = {}


class Row(msgspec.Struct, frozen=True, gc=False):
    """One outbox row: its gap-free number `o` and its JSON body. `null` is a row dropped by a bound."""

    o: Number
    body: msgspec.Raw


class StatusBatch(Message, frozen=True):
    """Outbox rows of lane `status`; bodies are ExecutionStatus."""

    policy: ClassVar[Policy] = Policy(Channel.STATUS, 32 * KIB)
    rows: list[Row]


class EventBatch(Message, frozen=True):
    """Outbox rows of lane `event`; bodies are NodeEvent."""

    policy: ClassVar[Policy] = Policy(Channel.EVENT, 32 * KIB, expiry=7 * 86400)
    rows: list[Row]


# --- requests in both directions ------------------------------------------------------------------


class Command(Message, frozen=True):
    """A request or a reply of the hub. `seq` rises for ever, so a repeat is told from a new one.

    Verbs: `blob` (send me / here are bytes), `logs` (how far a listener is), `drain`, `maintenance`, `undrain`,
    `resync`, `stop`, `lanes` and `orders` (of a hub that was restored).
    """

    policy: ClassVar[Policy] = Policy(Channel.COMMAND, 96 * KIB, expiry=3600)
    seq: Number
    id: str = ""
    args: dict[str, str] = {}
    offset: Number = 0
    total: Number = 0
    data: bytes = b""
    error: Reason | None = None


class Response(Message, frozen=True):
    """A reply or a request of a node. Verbs: `blob` (send me / here are bytes), `logs`, `spec` (send me the order),
    `lanes` and `orders` (to a hub that was restored).
    """

    policy: ClassVar[Policy] = Policy(Channel.RESPONSE, 96 * KIB, expiry=3600)
    id: str = ""
    args: dict[str, str] = {}
    offset: Number = 0
    total: Number = 0
    data: bytes = b""
    error: Reason | None = None


class HubStatus(Message, frozen=True):
    """The hub's presence, retained; also its will."""

    policy: ClassVar[Policy] = Policy(Channel.HUB, 512, retain=True)
    online: bool
    since: int = 0
    version: str = ""


REGISTRY: dict[Channel, type[Message]] = {
    kind.policy.channel: kind
    for kind in (
        NodeStatus,
        Capabilities,
        Health,
        Held,
        Want,
        Order,
        Ack,
        Invitation,
        Bid,
        Award,
        StatusBatch,
        EventBatch,
        Command,
        Response,
        HubStatus,
    )
}
M = TypeVar("M", bound=Message)

_encoder = msgspec.json.Encoder()
_decoders = {channel: msgspec.json.Decoder(kind) for channel, kind in REGISTRY.items()}


def encode(message: Message) -> bytes:
    """The body bytes. Raises TooLarge when the envelope would outgrow the cap of its kind."""
    body = _encoder.encode(message)
    if len(body) + OVERHEAD > message.policy.cap:
        raise TooLarge(
            f"{type(message).__name__} of {len(body)} bytes is over its cap of {message.policy.cap}",
            hint="send larger parts as blobs",
        )
    return body


def decode(channel: Channel, body: bytes) -> Message:
    """The message of a body that came on `channel`. Raises InvalidRequest or TooLarge; never another error."""
    if len(body) + OVERHEAD > REGISTRY[channel].policy.cap:
        raise TooLarge(f"{channel}: {len(body)} bytes are over the cap")
    try:
        return _decoders[channel].decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{channel}: {error}") from None
