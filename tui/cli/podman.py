"""`tender podman run` (and `tender docker run`): a container image as a job."""

from typing import Annotated

import typer

from tui.cli.grouped import grouped
from tui.cli.options import Hub, Run, TaskFlags
from tui.spec import container_job
from tui.submit import run_job

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Run a container as a job.")


@app.callback()
def main() -> None:
    """Run a container as a job."""


@app.command(context_settings={"allow_interspersed_args": False})
@grouped
def run(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="As Podman names it.")],
    hub: Hub,
    run: Run,
    task: TaskFlags,
    command: Annotated[list[str] | None, typer.Argument(metavar="CMD", help="For the container.")] = None,
    workdir: Annotated[str, typer.Option("-w", "--workdir", help="Where the program starts.")] = "",
    entrypoint: Annotated[list[str] | None, typer.Option(help="In place of the image's own; repeat for words.")] = None,
    pull: Annotated[str, typer.Option(help="missing, always or never.")] = "",
) -> None:
    """Run CMD in IMAGE. Options stand before the image."""
    document = container_job(task, image, command or [], entrypoint=entrypoint or [], workdir=workdir, pull=pull)
    run_job(document, hub, run, task.shown)
