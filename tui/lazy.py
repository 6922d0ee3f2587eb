"""Command groups that are imported when they are used, so that each box needs only the packages of its part."""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, cast

import typer
from typer.core import TyperGroup

from wire.operating.explaining import lines


@dataclass(frozen=True)
class Part:
    """A group of commands: where it lives (`module:attribute`), which extra it needs, and its line in the help.

    `needs` are packages of that extra that are imported only when the command does its work.
    """

    name: str
    place: str
    extra: str
    help: str
    hidden: bool = False
    needs: tuple[str, ...] = ()


HUB_NEEDS = ("litestar", "uvicorn", "cryptography", "httpx", "sqlite_utils")
AGENT_NEEDS = ("cryptography", "httpx", "sqlite_utils")
PARTS = (
    Part("job", "tui.cli.job:app", "tui", "Submit jobs, look at them, stop them, get their results."),
    Part("wasm", "tui.cli.wasm:app", "tui", "Run a WASM program as a job."),
    Part("podman", "tui.cli.podman:app", "tui", "Run a container as a job (also `tender docker`)."),
    Part("docker", "tui.cli.podman:app", "tui", "The same as podman.", hidden=True),
    Part("why", "tui.cli.why:app", "tui", "Who was asked to run a job, who bid, who declined and why."),
    Part("node", "tui.cli.node:app", "tui", "The boxes of the fleet: list, approve, reject, invite."),
    Part("user", "tui.cli.user:app", "tui", "Users of the hub: add, change, remove."),
    Part("key", "tui.cli.key:app", "tui", "API keys of users: list, add, revoke."),
    Part("audit", "tui.cli.audit:app", "tui", "Who changed what at the hub: list, export, verify."),
    Part("webhook", "tui.cli.webhook:app", "tui", "Tell programs elsewhere when jobs end."),
    Part("profile", "tui.cli.profile:app", "tui", "Hubs by name: add, use, list, remove."),
    Part("hub", "hub.cli:app", "hub", "Run a hub.", needs=HUB_NEEDS),
    Part("agent", "agent.cli:app", "agent", "Run the agent on this box, check the box.", needs=AGENT_NEEDS),
    Part(
        "devstack",
        "hub.devstack.cli:app",
        "hub,agent",
        "A hub, a broker and nodes on this machine, to try things.",
        needs=HUB_NEEDS + AGENT_NEEDS,
    ),
)
OWN = ("agent", "hub", "tui", "wire")


class MissingExtra(Exception):
    """A part's packages are not installed."""


def load(part: Part) -> typer.Typer:
    """Import a part. Raises MissingExtra when packages are missing, and lets its own mistakes through."""
    module, _, attribute = part.place.partition(":")
    for package in part.needs:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(_missing(part, package))
    try:
        return cast(typer.Typer, getattr(importlib.import_module(module), attribute))
    except ModuleNotFoundError as missing:
        root = (missing.name or "").partition(".")[0]
        if root in OWN and missing.name != module and not module.startswith(f"{missing.name}."):
            raise
        raise MissingExtra(_missing(part, root)) from None


def _missing(part: Part, package: str) -> str:
    message = f"`tender {part.name}` needs the package {package}, which is not installed here"
    return lines(message, f'pip install "tender[{part.extra}]"', "MissingPackage")


class LazyGroup(TyperGroup):
    """The root group: knows all names and help lines, imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return [part.name for part in PARTS if not part.hidden]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        part = next((part for part in PARTS if part.name == cmd_name), None)
        if part is None:
            return None
        try:
            command = typer.main.get_command(load(part))
        except MissingExtra as missing:
            if ctx.resilient_parsing:  # shell completion lists what is there
                return None
            typer.echo(missing, err=True)
            raise typer.Exit(1) from None
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(part.name, part.help) for part in PARTS if not part.hidden])
