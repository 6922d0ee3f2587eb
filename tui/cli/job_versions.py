"""`tender job rerun` and `tender job versions`."""

from typing import Annotated

import typer

from tui import screen, views
from tui.cli.options import Hub, JobName, Run, Shown, Space
from tui.cli.watch import Watch
from tui.client import JOBS
from tui.screen import Output
from tui.submit import stay_with


def rerun(
    job: JobName,
    hub: Hub,
    run: Run,
    shown: Shown,
    space: Space,
    version: Annotated[int, typer.Option("-v", "--version", min=0, help="Which version; 0 is the newest.")] = 0,
    reason: Annotated[str, typer.Option("-r", "--reason", help="Kept in the history.")] = "",
) -> None:
    """Run a job once more, in its newest or any other version. This makes a new version."""
    with hub.client() as client:
        found = client.get(f"{JOBS}/{job}", {"namespace": space.namespace})["Job"]
        if run.dry_run:
            screen.say(f"would run version {version or found['Version']} of {found['ID']} again")
            return
        answer = client.put(f"{JOBS}/{found['ID']}/rerun", {"JobVersion": version, "Reason": reason})
        stay_with(
            client, answer, run, shown.output, said=f"{answer['JobID']} runs again as version {answer['JobVersion']}"
        )


def versions(job: JobName, hub: Hub, shown: Shown, space: Space, watch: Watch) -> None:
    """Every version of a job, and how services and daemons took over."""
    watch.show(lambda: _versions(job, hub, shown, space))


def _versions(job: str, hub: Hub, shown: Shown, space: Space) -> None:
    with hub.client() as client:
        items = client.get(f"{JOBS}/{job}/versions", {"namespace": space.namespace})
        if shown.output is not Output.TABLE:
            screen.data(items, shown.output)
            return
        for item in items.get("Items") or []:
            if item.get("Type") in {"service", "daemon"}:
                asked = {"namespace": space.namespace, "job_version": item["Version"]}
                item["Rollout"] = client.get(f"{JOBS}/{job}/rollout", asked)
        views.versions(items.get("Items") or [], hide_header=shown.hide_header)
