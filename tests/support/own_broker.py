"""A broker that no hub manages, as fleets have that bring their own."""

import socket
from pathlib import Path

from hub.broker.mosquitto import BrokerSettings
from hub.pki import Pki


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OwnBroker:
    """A broker that no hub manages, with a certificate of the fleet's CA; `ManagedBroker(settings, pki)` starts it."""

    def __init__(self, folder: Path) -> None:
        self.pki = Pki(folder / "hub" / "pki")
        self.settings = BrokerSettings(folder=folder / "broker", hub_id="hub", port=free_port())

    def options(self, port: int = 0) -> list[str]:
        """What the hub is told of it; `port` is another one that leads there."""
        client = self.pki.client("hub", "hub")
        files = ["--broker-ca", self.pki.ca_path, "--broker-cert", client.certificate, "--broker-key", client.key]
        return ["--broker", f"127.0.0.1:{port or self.settings.port}", *map(str, files)]
