"""`tender hub doctor`: parses arguments and prints; nothing else."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub import options
from hub.config import HubConfig
from wire.failures import TenderError
from wire.operating.findings import Finding, exit_code, report

if TYPE_CHECKING:
    from hub.doctor.subject import Subject


def doctor(
    data_dir: options.DataDir = Path("tender-hub"),
    api_host: options.ApiHost = "127.0.0.1",
    api_port: options.ApiPort = 1234,
    broker: options.Broker = "managed",
    broker_host: options.BrokerHost = "127.0.0.1",
    broker_port: options.BrokerPort = 0,
    broker_ca: options.BrokerCa = "",
    broker_cert: options.BrokerCert = "",
    broker_key: options.BrokerKey = "",
    hub_id: options.HubId = "hub",
    allow_open: options.AllowOpen = False,  # noqa: FBT002
    policy: options.PolicyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,  # noqa: FBT002
    bundle: Annotated[Path | None, typer.Option(help="Write a support bundle, without secrets: FILE.tar.gz.")] = None,
    log: Annotated[list[Path] | None, typer.Option(help="Log file for the bundle; may be repeated.")] = None,
) -> None:
    """Check a hub, running or not; says what to do about each problem. Give it the options of `hub serve`."""
    from hub.doctor import examine  # noqa: PLC0415  --help must not pay for the whole hub
    from hub.doctor.subject import Subject  # noqa: PLC0415  as above

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
        allow_open=allow_open,
    )
    subject = Subject(config, policy)
    findings = asyncio.run(examine(subject))
    typer.echo(report(findings, as_json=as_json))
    if bundle is not None:
        _bundle(bundle.absolute(), subject, findings, log or [])
    raise typer.Exit(exit_code(findings))


def _bundle(target: Path, subject: "Subject", findings: Sequence[Finding], logs: Sequence[Path]) -> None:
    from hub.bundle import write  # noqa: PLC0415  as above

    try:
        typer.echo(f"{target}: {write(target, subject, findings, logs)} bytes", err=True)
    except (TenderError, OSError) as error:
        typer.echo(f"error: no bundle was written: {error}", err=True)
        raise typer.Exit(1) from None
