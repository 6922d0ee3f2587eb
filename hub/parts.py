"""The parts of a running hub, as the API sees them. Constructed in `hub/assembly.py`."""

from dataclasses import dataclass

from hub.access.limits import Limits
from hub.access.signed import SignedAddresses
from hub.access.users import Users
from hub.blobs import Blobs
from hub.board import Board
from hub.config import HubConfig
from hub.courier import Courier
from hub.dispatch import Dispatcher
from hub.enrolment import Enrolment
from hub.feed import Feed
from hub.inbox import Inbox
from hub.joblogs import JobLogs
from hub.listeners import Listeners
from hub.membership import Members
from hub.metrics import Metrics
from hub.orders import Orders
from hub.presign import Presigner
from hub.quotas import Quotas
from hub.registry import Registry
from hub.results import Results
from hub.retention import Retention
from hub.submission import Submissions
from hub.tokens import TokenDesk
from hub.tracker import Tracker
from hub.upkeep import Upkeep
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
