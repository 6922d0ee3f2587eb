"""`tender why JOB`: each auction of a job, who bid what, who declined and for which reason."""

from collections import Counter
from typing import Annotated, Any

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
def why(
    job: JobName,
    hub: Hub,
    shown: Shown,
    space: Space,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="So many of the newest auctions.")] = 200,
    slot: Annotated[int | None, typer.Option(min=0, help="Only of this slot.")] = None,
    next_token: Annotated[str, typer.Option(help="Older ones, from the page before.")] = "",
) -> None:
    """Who was asked to run a job, who bid, who declined and why."""
    with hub.client() as client:
        asked = {"namespace": space.namespace, "limit": limit, "next_token": next_token}
        reply = client.get(f"{JOBS}/{job}/why", asked if slot is None else asked | {"slot": str(slot)})
    if shown.output is Output.TABLE:
        tell(reply)
        if reply.get("NextToken"):
            screen.note(f"older auctions, of {reply.get('Total', 'many')}: --next-token {reply['NextToken']}")
    else:
        screen.data(reply, shown.output)


def tell(reply: dict[str, Any]) -> None:
    """Print the auctions, and the refusals counted when there were many."""
    tenders: list[dict[str, Any]] = reply.get("Tenders") or []
    message = f": {reply['Message']}" if reply.get("Message") else ""
    screen.say(f"{reply.get('JobID', '')} is {reply.get('State', '')}{message}")
    for node in reply.get("Asleep") or []:
        back = f": {node['BackAt'][:19]}Z" if node.get("BackAt") else ""
        screen.say(f"{node.get('NodeName', '')} sleeps, and is asked when it is back{back}")
    if not tenders:
        screen.say("No node was asked.")
    for item in tenders:
        screen.say()
        views.tender(item)
    reasons = Counter(
        f"{reason.get('Code', '')}"
        for item in tenders
        for bid in item.get("Bids") or []
        if bid.get("Outcome") in {"declined", "excluded"}
        for reason in bid.get("Reasons") or []
    )
    if sum(reasons.values()) > 1:
        screen.say("\nReasons: " + ", ".join(f"{count} × {code}" for code, count in reasons.most_common()))
