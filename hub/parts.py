"""The parts of a running hub, as the API sees them. Constructed in `hub/assembly.py`."""

from dataclasses import dataclass

from hub.access.limits import Limits
from hub.access.signed import SignedAddresses
from hub.access.users import Users
from hub.auctions.orders import Orders
from hub.blobs import Blobs
from hub.config import HubConfig
from hub.courier import Courier
from hub.feed import Feed
from hub.fleet.enrolment import Enrolment
from hub.fleet.membership import Members
from hub.fleet.registry import Registry
from hub.fleet.tokens import TokenDesk
from hub.fleet.upkeep import Upkeep
from hub.inbox import Inbox
from hub.jobs.board import Board
from hub.jobs.dispatch import Dispatcher
from hub.jobs.quotas import Quotas
from hub.jobs.submission import Submissions
from hub.jobs.tracker import Tracker
from hub.keeping.retention import Retention
from hub.listeners import Listeners
from hub.logs.jobs import JobLogs
from hub.metrics import Metrics
from hub.results.archives import Results
from hub.results.presign import Presigner
from hub.webhooks.opening import Webhooks
from wire.database import Database


@dataclass
class Hub:
    """Everything that the API needs."""

    config: HubConfig
    database: Database
    registry: Registry
    board: Board
    courier: Courier
    dispatcher: Dispatcher
    orders: Orders
    tracker: Tracker
    inbox: Inbox
    submissions: Submissions
    members: Members
    enrolment: Enrolment
    tokens: TokenDesk
    results: Results
    quotas: Quotas
    presigner: Presigner
    retention: Retention
    blobs: Blobs
    feed: Feed
    joblogs: JobLogs
    listeners: Listeners
    upkeep: Upkeep
    users: Users
    limits: Limits
    addresses: SignedAddresses
    metrics: Metrics
    webhooks: Webhooks
    url: str
