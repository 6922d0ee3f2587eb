"""`tender job logs`: what the programs of a job print, of all executions side by side or of one."""

from typing import Annotated

import typer

from tui.cli.grouped import grouped
from tui.cli.options import Hub, JobName, Space
from tui.client import JOBS
from tui.live_logs import away, is_many, node_names
from tui.logs import Asked, Printer, show


@grouped
def logs(
    job: JobName,
    hub: Hub,
    space: Space,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job has ended.")] = False,
    tail: Annotated[
        int | None, typer.Option("-t", "--tail", metavar="LINES", min=0, max=10_000, help="Only the last lines.")
    ] = None,
    execution_id: Annotated[str, typer.Option("-e", "--execution-id", help="Of one execution only.")] = "",
    prefix: Annotated[
        bool | None, typer.Option("--prefix/--no-prefix", help="Name execution and node; if there are several.")
    ] = None,
) -> None:
    """What a job's programs print. Ctrl-C ends the listening, never the job."""
    with hub.client() as client:
        found = client.get(f"{JOBS}/{job}", {"namespace": space.namespace})["Job"]
        many = is_many(client, found) and not execution_id if prefix is None else prefix
        asked = Asked(follow, str(tail) if tail is not None else "", execution_id, space.namespace)
        show(client, found["ID"], asked, Printer(many, node_names(client) if many else {}), away)
