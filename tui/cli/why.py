"""`tender why JOB`: each auction of a job, who bid what, who declined and for which reason."""

from collections import Counter
from typing import Any

import typer

from tui import screen, views
from tui.cli.grouped import grouped
from tui.cli.options import Hub, JobName, Shown, Space
from tui.client import JOBS
from tui.screen import Output

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, help="Who was asked to run a job, who bid, who declined and why."
)


@app.command()
@grouped
def why(job: JobName, hub: Hub, shown: Shown, space: Space) -> None:
    """Who was asked to run a job, who bid, who declined and why."""
    with hub.client() as client:
        reply = client.get(f"{JOBS}/{job}/why", {"namespace": space.namespace})
    if shown.output is Output.TABLE:
        tell(reply)
    else:
        screen.data(reply, shown.output)


def tell(reply: dict[str, Any]) -> None:
    """Print the auctions, and the refusals counted when there were many."""
    tenders: list[dict[str, Any]] = reply.get("Tenders") or []
    message = f": {reply['Message']}" if reply.get("Message") else ""
    screen.say(f"{reply.get('JobID', '')} is {reply.get('State', '')}{message}")
    if not tenders:
        screen.say("No node was asked.")
    for item in tenders:
        screen.say()
        views.tender(item)
    reasons = Counter(
        f"{reason.get('Code', '')}"
        for item in tenders
        for bid in item.get("Bids") or []
        if bid.get("Outcome") == "declined"
        for reason in bid.get("Reasons") or []
    )
    if sum(reasons.values()) > 1:
        screen.say("\nReasons: " + ", ".join(f"{count} × {code}" for code, count in reasons.most_common()))
