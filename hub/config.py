"""The hub's settings: one tree, filled from the command line."""

from pathlib import Path

import msgspec

from hub.keeping.rules import Keeping
from hub.policy import Policy

VERSION = "0.1.0"


class HubConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the hub keeps its data, where it listens, and which broker it uses.

    `brokers` empty: a managed mosquitto is started. `advertise`: hosts under which nodes reach the managed broker.
    """

    data_dir: Path
    api_host: str = "127.0.0.1"
    api_port: int = 1234
    hub_id: str = "hub"
    root: str = "tender"
    brokers: list[str] = []
    broker_host: str = "127.0.0.1"
    broker_port: int = 0
    broker_ca: str = ""
    broker_cert: str = ""
    broker_key: str = ""
    advertise: list[str] = []
    auto_approve: bool = False
    allow_open: bool = False
    trust_clock: bool = False
    """Believe a clock that is behind what the hub has written: it was wrong then."""
    public_url: str = ""
    keep: Keeping = Keeping()
    policy: Policy = Policy()
    user_rate: float = 1000.0
    """Requests a second of one user; of one address while there are no users."""
    address_rate: float = 50.0
    """Requests a second of one address without a good credential."""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the API. Elsewhere it speaks TLS with a certificate of the fleet's CA."""
        return self.api_host in {"127.0.0.1", "::1", "localhost"}

    @property
    def managed(self) -> bool:
        """Whether the hub runs its own broker."""
        return not self.brokers
