"""`tender hub …`: running a hub."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.config import HubConfig
from wire.failures import TenderError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help="Run a hub."
)


@app.callback()
def main() -> None:
    """Run a hub."""


@app.command()
def serve(
    data_dir: Annotated[Path, typer.Option(help="Where the hub keeps its data.")] = Path("tender-hub"),
    api_host: Annotated[str, typer.Option(help="Address of the REST API.")] = "127.0.0.1",
    api_port: Annotated[int, typer.Option(help="Port of the REST API; 0 takes a free one.")] = 1234,
    broker: Annotated[str, typer.Option(help="`managed`, or host:port[,host:port] of your own broker.")] = "managed",
    broker_host: Annotated[str, typer.Option(help="Address on which the managed broker listens.")] = "127.0.0.1",
    broker_port: Annotated[int, typer.Option(help="Port of the managed broker; 0 takes a free one and keeps it.")] = 0,
    broker_ca: Annotated[str, typer.Option(help="CA file of your own broker.")] = "",
    broker_cert: Annotated[str, typer.Option(help="The hub's certificate for your own broker.")] = "",
    broker_key: Annotated[str, typer.Option(help="The hub's key for your own broker.")] = "",
    advertise: Annotated[list[str] | None, typer.Option(help="Host name under which nodes reach the broker.")] = None,
    hub_id: Annotated[str, typer.Option(help="Name of this hub.")] = "hub",
    public_url: Annotated[str, typer.Option(help="URL under which nodes and clients reach the API.")] = "",
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Approve every node that joins.")] = False,  # noqa: FBT002
    allow_open: Annotated[bool, typer.Option("--allow-open", help="Listen beyond loopback without users.")] = False,  # noqa: FBT002
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the REST API on port 1234 and hold auctions over MQTT."""
    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    config = HubConfig(
        data_dir=data_dir.absolute(),
        api_host=api_host,
        api_port=api_port,
        hub_id=hub_id,
        brokers=[] if broker == "managed" else broker.split(","),
        broker_host=broker_host,
        broker_port=broker_port,
        broker_ca=broker_ca,
        broker_cert=broker_cert,
        broker_key=broker_key,
        advertise=advertise or [],
        auto_approve=auto_approve,
        allow_open=allow_open,
        public_url=public_url,
    )
    from hub.app import serve as run  # noqa: PLC0415  --help must not pay for the whole hub

    try:
        _run(run(config))
    except TenderError as error:
        typer.echo(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), err=True)
        raise typer.Exit(1) from None


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)
