"""Options that many commands share, and the client that talks to the hub they name."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from tui import screen
from tui.client import HubClient
from tui.hub_choice import choose
from tui.profiles import Profiles, config_folder
from tui.screen import Output
from tui.template_values import template_values
from wire.failures import TenderError

JobName = Annotated[str, Argument(metavar="JOB", help="Id, unique beginning of an id, or name.")]
NodeName = Annotated[str, Argument(metavar="NODE", help="Id, unique beginning of an id, or name.")]


def profile_names() -> list[str]:
    """Names for the shell's completion; none when they cannot be read."""
    try:
        return sorted(Profiles(config_folder()).known().profiles)
    except (TenderError, OSError):
        return []


@dataclass(frozen=True)
class Hub:
    """Which hub is asked."""

    api_host: Annotated[str, Option(metavar="HOST", help="Host or URL of the hub.", show_default=False)] = ""
    api_port: Annotated[int, Option(metavar="PORT", help="Port of the hub.", min=0, max=65535, show_default=False)] = 0
    ca: Annotated[Path | None, Option(metavar="FILE", help="The hub's CA; or TENDER_CA.", show_default=False)] = None
    profile: Annotated[
        str,
        Option(metavar="NAME", help="Hub of this profile.", show_default=False, autocompletion=profile_names),
    ] = ""

    def client(self, timeout: float = 30) -> HubClient:
        """A client of the hub that options, environment or profile name, with the key or user that goes with it."""
        chosen = choose(
            os.environ,
            Profiles(config_folder()),
            host=self.api_host,
            port=self.api_port,
            ca=str(self.ca or ""),
            profile=self.profile,
        )
        given = chosen.credential
        user = (given.username, given.password) if given.username else None
        return HubClient(chosen.url, key=given.key, user=user, ca=chosen.ca, timeout=timeout)


@dataclass(frozen=True)
class Shown:
    """How the answer is printed."""

    output: Annotated[Output, Option(help="How to print the answer.")] = Output.TABLE
    hide_header: Annotated[bool, Option("--hide-header", help="Leave the headings out.")] = False

    def listing(self, answer: Any, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """The whole answer for programs, or its rows under their headings for people."""
        if self.output is Output.TABLE:
            screen.table(columns, rows, hide_header=self.hide_header)
        else:
            screen.data(answer, self.output)


@dataclass(frozen=True)
class Space:
    """Where names are looked up."""

    namespace: Annotated[str, Option(help="Where the job's name is looked up.")] = "default"


@dataclass(frozen=True)
class Run:
    """What happens after a job was submitted."""

    wait: Annotated[bool, Option("--wait/--no-wait", help="Wait for the job's end.")] = True
    wait_timeout_secs: Annotated[float, Option(help="Wait no longer than this.", min=0)] = 600
    follow: Annotated[bool, Option("-f", "--follow", help="Print what the programs print, as it comes.")] = False
    id_only: Annotated[bool, Option("--id-only", help="Print the job's id and nothing else.")] = False
    dry_run: Annotated[bool, Option("--dry-run", help="Print what would change, or the whole job.")] = False


@dataclass(frozen=True)
class Template:
    """What is written in place of `{{.name}}` in a job file."""

    template_vars: Annotated[
        list[str] | None, Option("-V", "--template-vars", help="NAME=VALUE for {{.NAME}} in the file.")
    ] = None
    template_envs: Annotated[
        str, Option("-E", "--template-envs", metavar="REGEX", help="Variables from here whose name matches; * is all.")
    ] = ""
    no_template: Annotated[bool, Option("--no-template", help="Take the file as it stands, braces and all.")] = False

    @property
    def values(self) -> dict[str, str] | None:
        """By name; None when the file is not a template."""
        if self.no_template:
            return None
        return template_values(self.template_vars or [], self.template_envs, os.environ)


@dataclass(frozen=True)
class TaskFlags:
    """The job, as far as flags can say it; the same for all engines."""

    name: Annotated[str, Option(help="The job's name; the same name again makes a new version.")] = ""
    namespace: Annotated[str, Option(help="The job's namespace.")] = "default"
    priority: Annotated[int, Option(help="Higher comes first.")] = 0
    count: Annotated[int, Option("--count", "--concurrency", help="How many slots to fill.", min=0)] = 1
    target: Annotated[str, Option(help="any: by auction; all: every matching node.")] = "any"
    labels: Annotated[list[str] | None, Option("-l", "--labels", help="NAME=VALUE of the job.")] = None
    constraints: Annotated[
        list[str] | None,
        Option("-s", "--constraints", "--selector", help='On labels of nodes: a=b, c>5, "d in (e, f)".'),
    ] = None
    task_name: Annotated[str, Option(help="The task's name.")] = "main"
    env: Annotated[list[str] | None, Option("-e", "--env", help="NAME=VALUE for the program.")] = None
    inputs: Annotated[list[str] | None, Option("-i", "--input", help="FILE or URL; ,dst=/PATH says where.")] = None
    output: Annotated[
        list[str] | None,
        Option("-o", "--output", help="NAME:/PATH of a folder to keep. Or how to print: table, json, yaml."),
    ] = None
    publisher: Annotated[str, Option("-p", "--publisher", help="Where results go: local, hub, s3://BUCKET/KEY.")] = ""
    cpu: Annotated[str, Option(help="Like 0.5 or 500m.")] = ""
    memory: Annotated[str, Option(help="Like 512Mb.")] = ""
    disk: Annotated[str, Option(help="Like 1Gb.")] = ""
    gpu: Annotated[str, Option(help="How many.")] = ""
    network: Annotated[str, Option(help="none, host, bridge or http.")] = ""
    domain: Annotated[list[str] | None, Option(help="Domain that the program may reach.")] = None
    timeout: Annotated[int, Option(help="Seconds for the whole job.", min=0)] = 0
    queue_timeout: Annotated[int, Option(help="Seconds to wait for a node.", min=0)] = 0

    @property
    def shown(self) -> Output:
        """How to print; `-o` means folders here as in Bacalhau, so the three words are told apart from NAME:/PATH."""
        words = [word for word in self.output or [] if word in set(Output)]
        return Output(words[-1]) if words else Output.TABLE

    @property
    def folders(self) -> list[str]:
        """What `-o` says about folders to keep."""
        return [word for word in self.output or [] if word not in set(Output)]
