"""The agent's command line: `run`, `doctor` and what installs. Parses arguments and prints; nothing else."""

import asyncio
import logging
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

from agent import app as agent_app
from agent.doctor import examine
from agent.install import cli as install_cli
from agent.settings.config import AgentConfig, load
from wire.failures import InvalidRequest, Swapped, TenderError
from wire.operating.explaining import explained
from wire.operating.findings import exit_code, report

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Run the agent on this box, check the box.",
)


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


BAD_SETTINGS = os.EX_CONFIG
"""Exit code for settings that cannot work: a supervisor need not try again."""

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file with the settings.")]
DataDir = Annotated[str | None, typer.Option(help="Where identity, database and work are kept.")]


@app.command()
def run(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    join: Annotated[str, typer.Option(help="Join token, for the first start.", envvar="TENDER_JOIN_TOKEN")] = "",
    join_token_file: Annotated[str | None, typer.Option(help="File that holds the join token.")] = None,
    name: Annotated[str | None, typer.Option(help="Name for people; the host's name if not given.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="key=value, may be repeated.")] = None,
    profile: Annotated[str | None, typer.Option(help="lan, default, metered or sleepy.")] = None,
    limit_total_cpu: Annotated[str | None, typer.Option(help="For all jobs: 80% or 2.5.")] = None,
    limit_total_memory: Annotated[str | None, typer.Option(help="For all jobs: 80% or 4GB.")] = None,
    limit_total_disk: Annotated[str | None, typer.Option(help="For all jobs: 80% or 20GB.")] = None,
    limit_total_gpu: Annotated[str | None, typer.Option(help="For all jobs: 100% or 1.")] = None,
    limit_job_cpu: Annotated[str | None, typer.Option(help="For one job.")] = None,
    limit_job_memory: Annotated[str | None, typer.Option(help="For one job.")] = None,
    limit_job_disk: Annotated[str | None, typer.Option(help="For one job.")] = None,
    limit_job_gpu: Annotated[str | None, typer.Option(help="For one job.")] = None,
    job_selection_data_locality: Annotated[str | None, typer.Option(help="local or anywhere.")] = None,
    job_selection_reject_stateless: Annotated[bool | None, typer.Option(help="Refuse jobs without inputs.")] = None,
    job_selection_reject_networked: Annotated[bool | None, typer.Option(help="Refuse jobs with a network.")] = None,
    job_selection_probe_exec: Annotated[str | None, typer.Option(help="Program that decides on bids.")] = None,
    job_selection_probe_http: Annotated[str | None, typer.Option(help="URL that decides on bids.")] = None,
    allow_path: Annotated[list[str] | None, typer.Option(help="glob:ro or glob:rw, may be repeated.")] = None,
    disable_engine: Annotated[list[str] | None, typer.Option(help="Engine that is not offered.")] = None,
    podman_socket: Annotated[str | None, typer.Option(help="Socket of the Podman service.")] = None,
    podman_managed: Annotated[bool | None, typer.Option(help="Start a private Podman service.")] = None,
    max_executions: Annotated[int | None, typer.Option(help="At most so many at once.")] = None,
    allow_unenforced_limits: Annotated[bool | None, typer.Option(help="Run even if limits do not hold.")] = None,
    fake_engine: Annotated[bool | None, typer.Option("--fake-engine", hidden=True)] = None,
    log_level: Annotated[Level, typer.Option(help="What goes to stderr.")] = Level.INFO,
) -> None:
    """Run the agent on this box until it is told to stop."""
    given = dict(locals())
    for own in ("config", "join", "label", "allow_path", "fake_engine", "log_level"):
        del given[own]
    options: dict[str, object] = {key.replace("_", "-"): value for key, value in given.items()}
    options |= {"labels": label or None, "allow-listed-local-paths": allow_path or None}
    _log_to_stderr(log_level)
    settings = _settings(config, options, join)
    try:
        asyncio.run(agent_app.run(settings, say=_say, with_fake=bool(fake_engine)))
    except InvalidRequest as error:
        _fail(error, BAD_SETTINGS)
    except Swapped as error:
        _fail(error, os.EX_IOERR)
    except TenderError as error:
        _fail(error, 1)
    except OSError as error:
        _fail(error, 1, f"can the agent write to {settings.data_dir}? see `tender agent doctor`")


@app.command()
def doctor(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: Annotated[bool | None, typer.Option("--json", help="One JSON document.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Write a support bundle, without secrets: FILE.tar.gz.")] = None,
    log: Annotated[list[Path] | None, typer.Option(help="Log file for the bundle; may be repeated.")] = None,
) -> None:
    """Check what this box needs for running the agent; says what to do about each problem."""
    settings = _settings(config, {"data-dir": data_dir}, "")
    findings = asyncio.run(examine(settings))
    typer.echo(report(findings, as_json=bool(as_json)))
    if bundle is not None:
        from agent.bundle import write  # noqa: PLC0415  the agent itself must not pay for it

        try:
            typer.echo(f"{bundle}: {write(bundle.absolute(), settings, findings, log or [])} bytes", err=True)
        except TenderError as error:
            _fail(error, 1)
        except OSError as error:
            _fail(TenderError(f"no bundle was written: {error}"), 1)
    raise typer.Exit(exit_code(findings))


app.command()(install_cli.install)
app.command()(install_cli.upgrade)
app.command()(install_cli.uninstall)
app.command(hidden=True)(install_cli.settle)


def _settings(path: Path | None, options: dict[str, object], token: str) -> AgentConfig:
    """All settings; the token goes in last, so that it is never shown with a problem."""
    try:
        settings = load(path, options)
    except TenderError as error:
        _fail(error, BAD_SETTINGS)
    if not token:
        return settings
    return msgspec.structs.replace(settings, hub=msgspec.structs.replace(settings.hub, join_token=token))


def _fail(error: TenderError | OSError, code: int, hint: str = "") -> NoReturn:
    typer.echo(explained(error, hint=hint), err=True)
    raise typer.Exit(code)


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


def _log_to_stderr(level: Level) -> None:
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
