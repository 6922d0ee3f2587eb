"""What submitting a job would do: the difference to the job with its name, or the job as it would be stored."""

from typing import Any

from tui import screen
from tui.cli.options import Hub
from tui.client import JOBS
from tui.screen import Output
from wire.failures import NotFound, Unavailable
from wire.jobs.job import Job
from wire.jobs.shape import to_wire


def dry_run(job: Job, document: dict[str, Any], hub: Hub, output: Output) -> None:
    """Print it; nothing is stored. A job without a name, or with a new one, is shown whole."""
    if output is Output.TABLE and job.name:
        difference = _difference(document, hub)
        if difference is not None:
            screen.say(difference.rstrip("\n") if difference else "No diff detected.")
            return
    screen.data(to_wire(job), Output.YAML if output is Output.TABLE else output)


def _difference(document: dict[str, Any], hub: Hub) -> str | None:
    """The hub's word, or None when there is nothing to compare with."""
    try:
        with hub.client() as client:
            return str(client.put(f"{JOBS}/diff", {"Job": document}).get("Diff") or "")
    except NotFound as unknown:
        screen.note(f"{unknown.message}; this would be a new job")
    except Unavailable as away:
        screen.note(f"{away.message}; this is the job by itself")
    return None
