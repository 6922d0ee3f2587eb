"""`tender node …`: the boxes of the fleet."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from tui import screen, views
from tui.cli.grouped import grouped
from tui.cli.options import Hub, NodeName, Shown
from tui.cli.upkeep import drain, label, maintenance, undrain
from tui.cli.watch import Watch
from tui.client import NODES
from tui.flags import label_filters
from tui.screen import Output
from wire.operating.explaining import lines

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="The boxes of the fleet: list, approve, reject, invite.",
)


DONE = {
    "approve": "approved: it is asked for bids from now on",
    "reject": "rejected: it gets no more work",
    "delete": "forgotten",
}


class Approval(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class Status(StrEnum):
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class Order(StrEnum):
    ID = "id"
    CPU = "available_cpu"
    MEMORY = "available_memory"
    DISK = "available_disk"


Message = Annotated[str, typer.Option("-m", "--message", help="Why; kept with the node.")]


@app.command("list")
@grouped
def list_nodes(
    hub: Hub,
    shown: Shown,
    watch: Watch,
    labels: Annotated[
        list[str] | None, typer.Option("-l", "--labels", metavar="NAME=VALUE", help="Only with this label.")
    ] = None,
    filter_approval: Annotated[Approval | None, typer.Option(help="Only these.")] = None,
    filter_status: Annotated[Status | None, typer.Option(help="Only these.")] = None,
    order_by: Annotated[Order | None, typer.Option(help="What comes first.")] = None,
    order_reversed: Annotated[bool, typer.Option("--order-reversed", help="The other way round.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="With free disk and every label.")] = False,
) -> None:
    """List nodes with what they have free."""
    asked = {
        "labels": label_filters(labels or []),
        "filter-approval": filter_approval,
        "filter-status": filter_status,
        "order_by": order_by,
        "reverse": "true" if order_reversed else "",
    }
    with hub.client() as client:
        watch.show(lambda: _show(client.get(NODES, asked), shown, wide=wide))


def _show(reply: dict[str, Any], shown: Shown, *, wide: bool) -> None:
    if shown.output is Output.TABLE:
        views.nodes(reply.get("Nodes") or [], hide_header=shown.hide_header, wide=wide)
    else:
        screen.data(reply, shown.output)


@app.command()
@grouped
def describe(
    node: NodeName, hub: Hub, output: Annotated[Output, typer.Option(help="How to print it.")] = Output.YAML
) -> None:
    """Everything that is known of a node."""
    with hub.client() as client:
        screen.data(client.get(f"{NODES}/{node}")["Node"], Output.YAML if output is Output.TABLE else output)


def _decide(hub: Hub, node: str, action: str, message: str) -> None:
    with hub.client() as client:
        reply: dict[str, Any] = client.put(f"{NODES}/{node}", {"Action": action, "Message": message})
    if reply.get("Error"):
        screen.note(lines(str(reply["Error"]), f"tender node describe {node}", "Conflict"))
        raise typer.Exit(1)
    screen.say(f"{node} is {DONE[action]}")


@app.command()
@grouped
def approve(node: NodeName, hub: Hub, message: Message = "") -> None:
    """Let a node take part."""
    _decide(hub, node, "approve", message)


@app.command()
@grouped
def reject(node: NodeName, hub: Hub, message: Message = "") -> None:
    """Keep a node out."""
    _decide(hub, node, "reject", message)


@app.command()
@grouped
def delete(node: NodeName, hub: Hub, message: Message = "") -> None:
    """Forget a node."""
    _decide(hub, node, "delete", message)


@app.command()
@grouped
def token(
    hub: Hub,
    life: Annotated[
        int, typer.Option(help="Seconds for which it can be used, at most a day.", min=1, max=86400)
    ] = 3600,
    approve: Annotated[bool, typer.Option("--approve", help="The node that uses it needs no approval.")] = False,
    output: Annotated[Output, typer.Option(help="How to print it.")] = Output.TABLE,
) -> None:
    """Make a token with which one box can join."""
    with hub.client() as client:
        reply = client.post(f"{NODES}/token", {"Life": life, **({"Approve": True} if approve else {})})
    if output is Output.TABLE:
        screen.say(str(reply["Token"]))
    else:
        screen.data(reply, output)


for _command in (label, drain, undrain, maintenance):
    app.command()(grouped(_command))
