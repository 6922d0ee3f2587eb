"""`tender job …`: submit, look at, follow, stop jobs, and get their results."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tui import screen, views
from tui.cli.bulk import bulk
from tui.cli.describe import describe_job
from tui.cli.get import get_results
from tui.cli.grouped import grouped
from tui.cli.job_versions import rerun, versions
from tui.cli.logs import logs
from tui.cli.options import Hub, JobName, Run, Shown, Space, Template
from tui.cli.watch import Watch
from tui.client import JOBS
from tui.flags import label_filters
from tui.follow import TERMINAL, state_of
from tui.job_files import read_job_file, read_job_text
from tui.screen import Output
from tui.submit import run_job
from wire.failures import Conflict
from wire.jobs.parse import parse_job
from wire.strict_json import MAX_BYTES

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Submit jobs, look at them, stop them, get their results.",
)


class Order(StrEnum):
    CREATED = "created_at"
    ID = "id"


class EventType(StrEnum):
    ALL = "all"
    JOB = "job"
    EXECUTION = "execution"


JobFile = Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON; - reads standard input.")]


def _read(file: str, values: Mapping[str, str] | None = None) -> dict[str, Any]:
    if file == "-":
        if sys.stdin.isatty():
            screen.note("type the job, YAML or JSON, and end it with Ctrl-D")
        return read_job_text(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input", values)
    return read_job_file(Path(file), values)


def _list(items: dict[str, Any], shown: Shown, table: Any, key: str = "Items") -> None:
    if shown.output is Output.TABLE:
        table(items.get(key) or [], hide_header=shown.hide_header)
        if items.get("NextToken"):
            screen.note(f"more: --next-token {items['NextToken']}")
    else:
        screen.data(items, shown.output)


@app.command()
@grouped
def run(
    hub: Hub,
    run: Run,
    shown: Shown,
    template: Template,
    file: JobFile = "-",
    name: Annotated[str, typer.Option(help="Name it otherwise than the file does.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Submit again what did not change.")] = False,
) -> None:
    """Submit a job file and wait for its end. {{.name}} in it is replaced by what --template-vars gives."""
    document = _read(file, template.values)
    if name:
        for key in [key for key in document if key.lower() == "name"]:
            del document[key]
        document["Name"] = name
    run_job(document, hub, run, shown.output, force=force)


@app.command()
@grouped
def validate(file: JobFile) -> None:
    """Check a job file without a hub."""
    for warning in parse_job(_read(file)).warnings:
        screen.note(f"warning: {warning}")
    screen.say("OK")


@app.command("list")
@grouped
def list_jobs(
    hub: Hub,
    shown: Shown,
    watch: Watch,
    namespace: Annotated[str, typer.Option(help="* for all.")] = "*",
    labels: Annotated[
        list[str] | None,
        typer.Option("-l", "--labels", metavar="NAME=VALUE", help="Only these; NAME!=VALUE: all others."),
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000)] = 10,
    next_token: Annotated[str, typer.Option(help="From the page before.")] = "",
    order_by: Annotated[Order | None, typer.Option(help="What comes first.")] = None,
    reverse: Annotated[bool, typer.Option("--order-reversed/--oldest-first", help="Newest first.")] = True,
) -> None:
    """List jobs, newest first."""
    asked = {
        "namespace": namespace,
        "labels": label_filters(labels or []),
        "limit": limit,
        "next_token": next_token,
        "order_by": order_by,
        "reverse": "true" if reverse else "",
    }
    with hub.client() as client:
        watch.show(lambda: _list(client.get(JOBS, asked), shown, views.jobs))


@app.command()
@grouped
def describe(job: JobName, hub: Hub, shown: Shown, space: Space) -> None:
    """Everything about a job: its specification, executions and history."""
    with hub.client() as client:
        reply = client.get(f"{JOBS}/{job}", {"include": "history,executions", "namespace": space.namespace})
    if shown.output is Output.TABLE:
        describe_job(reply)
    else:
        screen.data(reply, shown.output)


@app.command()
@grouped
def executions(
    job: JobName,
    hub: Hub,
    shown: Shown,
    space: Space,
    watch: Watch,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000)] = 100,
    all_versions: Annotated[bool, typer.Option("--all-versions", help="Of every version of the job.")] = False,
) -> None:
    """The attempts of a job, each on one node."""
    asked = {"namespace": space.namespace, "limit": limit, "all_job_versions": "true" if all_versions else ""}
    with hub.client() as client:
        watch.show(lambda: _list(client.get(f"{JOBS}/{job}/executions", asked), shown, views.executions))


@app.command()
@grouped
def history(
    job: JobName,
    hub: Hub,
    shown: Shown,
    space: Space,
    watch: Watch,
    event_type: Annotated[EventType, typer.Option(help="Events of what.")] = EventType.ALL,
    execution_id: Annotated[str, typer.Option(help="Of one execution.")] = "",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000)] = 1000,
    next_token: Annotated[str, typer.Option(help="From the page before.")] = "",
) -> None:
    """What happened to a job, in order."""
    asked = {
        "namespace": space.namespace,
        "event_type": event_type,
        "execution_id": execution_id,
        "limit": limit,
        "next_token": next_token,
    }
    with hub.client() as client:
        watch.show(lambda: _list(client.get(f"{JOBS}/{job}/history", asked), shown, views.history))


@app.command()
@grouped
def get(
    job: JobName,
    hub: Hub,
    space: Space,
    output: Annotated[Output, typer.Option(help="How to print what came.")] = Output.TABLE,
    output_dir: Annotated[Path | None, typer.Option(help="A new folder for the results; default ./job-…")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it exists.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="One folder for each execution.")] = False,
    download_timeout_secs: Annotated[float, typer.Option(min=1, help="Silence after which to give up.")] = 120,
) -> None:
    """Download the results, checked against the manifest that their node signed."""
    with hub.client(download_timeout_secs) as client:
        get_results(client, job, space.namespace, output_dir, output, overwrite=overwrite, raw=raw)


@app.command()
@grouped
def stop(
    job: JobName,
    hub: Hub,
    space: Space,
    reason: Annotated[str, typer.Option("-r", "--reason", help="Kept in the history.")] = "Stopped at user request",
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing when it worked.")] = False,
) -> None:
    """Stop a job. Nothing is deleted."""
    with hub.client() as client:
        found = client.get(f"{JOBS}/{job}", {"namespace": space.namespace})["Job"]
        if state_of(found) in TERMINAL:
            raise Conflict(f"{found['ID']} is over already: it is {state_of(found).lower()}")
        client.delete(f"{JOBS}/{found['ID']}", {"reason": reason})
    if not quiet:
        screen.say(f"{found['ID']} is being stopped")


@app.command()
@grouped
def purge(job: JobName, hub: Hub, space: Space) -> None:
    """Remove a job that is over, with its history. Results that lie elsewhere stay there."""
    with hub.client() as client:
        found = client.get(f"{JOBS}/{job}", {"namespace": space.namespace})["Job"]
        client.delete(f"{JOBS}/{found['ID']}", {"purge": "true"})
    screen.say(f"{found['ID']} is removed")


app.command()(grouped(rerun))
app.command()(grouped(versions))
app.command()(logs)
app.command()(grouped(bulk))
