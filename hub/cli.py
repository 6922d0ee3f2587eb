"""`tender hub …`: running a hub."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from hub import options
from hub.backups import cli as backups_cli
from hub.config import HubConfig
from hub.doctor import cli as doctor_cli
from hub.keeping.rules import read_keeping
from hub.policy import Policy
from hub.policy import load as load_policy
from wire.failures import Conflict, InvalidRequest, Swapped, TenderError
from wire.operating.explaining import explained

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help="Run a hub."
)


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


app.command()(backups_cli.backup)
app.command()(backups_cli.restore)
app.command()(doctor_cli.doctor)


@app.callback()
def main() -> None:
    """Run a hub."""


@app.command()
def serve(
    data_dir: options.DataDir = Path("tender-hub"),
    api_host: options.ApiHost = "127.0.0.1",
    api_port: options.ApiPort = 1234,
    broker: options.Broker = "managed",
    broker_host: options.BrokerHost = "127.0.0.1",
    broker_port: options.BrokerPort = 0,
    broker_ca: options.BrokerCa = "",
    broker_cert: options.BrokerCert = "",
    broker_key: options.BrokerKey = "",
    advertise: Annotated[
        list[str] | None, typer.Option(help="Host name under which nodes and clients reach this hub; may be repeated.")
    ] = None,
    hub_id: options.HubId = "hub",
    public_url: Annotated[str, typer.Option(help="URL under which nodes and clients reach the API.")] = "",
    auto_approve: Annotated[bool, typer.Option("--auto-approve", help="Approve every node that joins.")] = False,  # noqa: FBT002
    allow_open: options.AllowOpen = False,  # noqa: FBT002
    trust_clock: options.TrustClock = False,  # noqa: FBT002
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="How long or how much is kept, like jobs=30d; may be repeated."),
    ] = None,
    policy: options.PolicyFile = None,
    user_rate: Annotated[float, typer.Option(min=1, help="Requests a second of one user.")] = 1000,
    address_rate: Annotated[float, typer.Option(min=1, help="Requests a second of one stranger's address.")] = 50,
    log_level: Annotated[Level, typer.Option(help="What goes to stderr.")] = Level.INFO,
) -> None:
    """Serve the REST API on port 1234 and hold auctions over MQTT."""
    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        kept, rules = read_keeping(keep or []), load_policy(policy) if policy else Policy()
    except TenderError as error:
        _fail(error, os.EX_CONFIG)
    config = HubConfig(
        data_dir=data_dir.absolute(),
        api_host=api_host,
        api_port=api_port,
        hub_id=hub_id,
        brokers=options.brokers(broker),
        broker_host=broker_host,
        broker_port=broker_port,
        broker_ca=broker_ca,
        broker_cert=broker_cert,
        broker_key=broker_key,
        advertise=advertise or [],
        auto_approve=auto_approve,
        allow_open=allow_open,
        trust_clock=trust_clock,
        public_url=public_url,
        keep=kept,
        policy=rules,
        user_rate=user_rate,
        address_rate=address_rate,
    )
    try:
        _check(config)
        from hub.app import serve as run  # noqa: PLC0415  --help must not pay for the whole hub

        _run(run(config))
    except InvalidRequest as error:
        _fail(error, os.EX_CONFIG)
    except Swapped as error:
        _fail(error, os.EX_IOERR)
    except TenderError as error:
        _fail(error)
    except OSError as error:
        _fail(error, hint=f"can the hub write to {config.data_dir}?")


@app.command("add-user")
def add_user(
    name: Annotated[str, typer.Argument(help="Name of the user; it may do everything.")],
    data_dir: options.DataDir = Path("tender-hub"),
) -> None:
    """Add an administrator before the first start, and print its API key. Later: `tender user add`."""
    try:
        from hub.first_user import add_administrator  # noqa: PLC0415  --help must not pay for the whole hub

        typer.echo(asyncio.run(add_administrator(HubConfig(data_dir=data_dir.absolute()), name)))
    except TenderError as error:
        _fail(error)
    except OSError as error:
        _fail(error, hint=f"can you write to {data_dir}?")


def _check(config: HubConfig) -> None:
    """Refuse what cannot work before anything is made. Raises TenderError."""
    for broker in config.brokers:
        host, _, port = broker.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise InvalidRequest(f"--broker {broker[:100]} is not HOST:PORT", hint="or `managed` for a private one")
    files = {"--broker-ca": config.broker_ca, "--broker-cert": config.broker_cert, "--broker-key": config.broker_key}
    for option, file in files.items() if config.brokers else ():
        if not file:
            raise InvalidRequest(f"{option} is missing", hint="your own broker is reached by mutual TLS, and only so")
        if not Path(file).is_file():
            raise InvalidRequest(f"{option}: there is no file {file}", hint="is the path right?")
    if config.api_port:
        _require_free(config.api_host, config.api_port, "--api-port")
    if config.managed and config.broker_port:
        _require_free(config.broker_host, config.broker_port, "--broker-port")


def _require_free(host: str, port: int, option: str) -> None:
    """A look before the start, for a clear word; who comes later is still refused by the kernel."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as taken:
        number = taken.errno or 0
        reason = os.strerror(number) if number > 0 else str(taken.strerror)
        raise Conflict(
            f"cannot listen on {host}:{port}: {reason.lower()}",
            hint=f"is another hub running there? give another with {option}",
        ) from None


def _fail(error: TenderError | OSError, code: int = 1, *, hint: str = "") -> NoReturn:
    """EX_CONFIG tells a supervisor that trying again will not help."""
    typer.echo(explained(error, hint=hint), err=True)
    raise typer.Exit(code)


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)
