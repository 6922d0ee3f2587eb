"""Options that several commands of the hub take, each with its one line of help."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[Path, typer.Option(help="Where the hub keeps its data.")]
ApiHost = Annotated[str, typer.Option(help="Address of the REST API.")]
ApiPort = Annotated[int, typer.Option(min=0, max=65535, help="Port of the REST API; 0 takes a free one.")]
Broker = Annotated[str, typer.Option(help="`managed`, or host:port[,host:port] of your own broker.")]
BrokerHost = Annotated[str, typer.Option(help="Address on which the managed broker listens.")]
BrokerPort = Annotated[
    int, typer.Option(min=0, max=65535, help="Port of the managed broker; 0 takes a free one and keeps it.")
]
BrokerCa = Annotated[str, typer.Option(help="CA file of your own broker.")]
BrokerCert = Annotated[str, typer.Option(help="The hub's certificate for your own broker.")]
BrokerKey = Annotated[str, typer.Option(help="The hub's key for your own broker.")]
HubId = Annotated[str, typer.Option(help="Name of this hub.")]
AllowOpen = Annotated[bool, typer.Option("--allow-open", help="Listen beyond loopback without users.")]
TrustClock = Annotated[bool, typer.Option("--trust-clock", help="The clock is right, though newer things are stored.")]
PolicyFile = Annotated[Path | None, typer.Option(help="TOML with job defaults, weights, quotas and hooks on bids.")]


def brokers(text: str) -> list[str]:
    """The addresses that `--broker` names; none for the managed one."""
    return [] if text == "managed" else text.split(",")
