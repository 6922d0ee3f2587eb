"""`tender webhook …`: programs elsewhere that are told when jobs end."""

from typing import Annotated, Any

import typer

from tui import screen
from tui.cli.grouped import grouped
from tui.cli.options import Hub, Shown
from tui.cli.watch import Watch
from tui.flags import pairs
from wire.failures import TenderError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Tell programs elsewhere when jobs end: add, list, test, deliveries, rotate, remove.",
)
WEBHOOKS = "/api/v1/webhooks"
Name = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id or the unique beginning of it.")]


class NotDelivered(TenderError):
    """The receiver did not take a test."""


@app.command()
@grouped
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where messages are sent, like https://hooks.example/a.")],
    hub: Hub,
    namespace: Annotated[str, typer.Option(help="Whose jobs; * is all.")] = "default",
    state: Annotated[list[str] | None, typer.Option(help="completed, failed or stopped; repeatable, else all.")] = None,
    job_type: Annotated[
        list[str] | None, typer.Option("--type", help="batch, service, ops or daemon; repeatable, else all.")
    ] = None,
    labels: Annotated[list[str] | None, typer.Option("-l", "--labels", help="NAME=VALUE that jobs have.")] = None,
) -> None:
    """Add a webhook and print the secret that signs its messages, which is told this once."""
    wish = {"URL": url, "Namespace": namespace, "States": state or [], "Types": job_type or []}
    with hub.client() as client:
        reply = client.post(WEBHOOKS, {**wish, "Labels": pairs(labels or [], "--labels")})
    screen.say(str(reply["Secret"]))
    screen.note(f"webhook {reply['Webhook']['ID']} was added; its secret is shown this once")


@app.command("list")
@grouped
def list_webhooks(
    hub: Hub, shown: Shown, watch: Watch, namespace: Annotated[str, typer.Option(help="Of one namespace only.")] = ""
) -> None:
    """All webhooks, and how they do."""
    watch.show(lambda: _list(hub, shown, namespace))


def _list(hub: Hub, shown: Shown, namespace: str) -> None:
    with hub.client() as client:
        reply = client.get(WEBHOOKS, {"namespace": namespace})
    rows = [
        (screen.short(one["ID"]), one["Namespace"], one["URL"], _told(one), one["State"], one["Waiting"], _why(one))
        for one in reply["Items"]
    ]
    headings = ("ID", "NAMESPACE", "URL", "TOLD OF", "STATE", "WAITING", "MESSAGE")
    shown.listing(reply, headings, rows)


def _told(one: dict[str, Any]) -> str:
    words = [*one["States"], *one["Types"], *(f"{name}={value}" for name, value in one["Labels"].items())]
    return " ".join(words) or "every end"


def _why(one: dict[str, Any]) -> str:
    failing = f"fails since {screen.moment(one['FailingSince'])}" if one["FailingSince"] else ""
    dropped = f"{one['Dropped']} were dropped" if one["Dropped"] else ""
    return "; ".join(filter(None, (one["Message"] or failing, dropped)))


@app.command()
@grouped
def deliveries(
    name: Name,
    hub: Hub,
    shown: Shown,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=1000)] = 50,
    state: Annotated[str, typer.Option(help="waiting, delivered or failed.")] = "",
) -> None:
    """What was sent or waits, the newest first."""
    with hub.client() as client:
        reply = client.get(f"{WEBHOOKS}/{name}/deliveries", {"limit": limit, "state": state})
    rows = [
        (screen.moment(one["CreateTime"]), one["Type"], one["JobID"], one["State"], one["Tries"], one["Message"])
        for one in reply["Items"]
    ]
    shown.listing(reply, ("MADE", "TYPE", "JOB", "STATE", "TRIES", "MESSAGE"), rows)


@app.command()
@grouped
def test(name: Name, hub: Hub) -> None:
    """Send a test message once."""
    with hub.client() as client:
        done = client.post(f"{WEBHOOKS}/{name}/test", {})["Delivery"]
    if done["State"] != "delivered":
        raise NotDelivered(f"not delivered: {done['Message']}", hint=f"tender webhook deliveries {name}")
    screen.say(f"delivered: the receiver answered {done['Status']}")


@app.command()
@grouped
def rotate(
    name: Name, hub: Hub, overlap: Annotated[str, typer.Option(help="How long the old secret is good too.")] = "24h"
) -> None:
    """Make a new secret and print it; until the overlap ends, messages are signed with both."""
    with hub.client() as client:
        reply = client.post(f"{WEBHOOKS}/{name}/rotate", {"Overlap": overlap})
    screen.say(str(reply["Secret"]))
    screen.note(f"the old secret is good for {overlap}; the new one is shown this once")


@app.command()
@grouped
def pause(name: Name, hub: Hub) -> None:
    """Send nothing for a while; what ends meanwhile is kept for seven days."""
    _paused(hub, name, paused=True)


@app.command()
@grouped
def resume(name: Name, hub: Hub) -> None:
    """Go on after a pause, and send what waits."""
    _paused(hub, name, paused=False)


def _paused(hub: Hub, name: str, *, paused: bool) -> None:
    with hub.client() as client:
        changed = client.put(f"{WEBHOOKS}/{name}", {"Paused": paused})["Webhook"]
    screen.say(f"{name} is {changed['State']}; {changed['Waiting']} deliveries wait")


@app.command()
@grouped
def remove(name: Name, hub: Hub) -> None:
    """Remove a webhook with all that waits for it."""
    with hub.client() as client:
        client.delete(f"{WEBHOOKS}/{name}")
    screen.say(f"{name} is removed")
