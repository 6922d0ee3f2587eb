"""`tender user …`: who may use the hub, and what each of them may do."""

from typing import Annotated, Any

import typer

from tui import screen
from tui.cli.grouped import grouped
from tui.cli.options import Hub, Shown
from tui.cli.watch import Watch

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Users of the hub: add, change, remove."
)
USERS = "/api/v1/users"

Name = Annotated[str, typer.Argument(metavar="USER", help="The user's name.")]
May = Annotated[
    list[str] | None,
    typer.Option("--may", metavar="CAPABILITY", help="read:job, write:job, read:node, write:node or *; repeatable."),
]
Spaces = Annotated[
    list[str] | None, typer.Option("--namespace", metavar="NAME", help="Where; * is everywhere; repeatable.")
]


@app.command("list")
@grouped
def list_users(hub: Hub, shown: Shown, watch: Watch) -> None:
    """All users."""
    watch.show(lambda: _list(hub, shown))


def _list(hub: Hub, shown: Shown) -> None:
    with hub.client() as client:
        reply = client.get(USERS)
    rows = [
        (one["Name"], " ".join(one["Capabilities"]), " ".join(one["Namespaces"]), "yes" if one["HasPassword"] else "")
        for one in reply["Items"]
    ]
    shown.listing(reply, ("NAME", "MAY", "NAMESPACES", "PASSWORD"), rows)


@app.command()
@grouped
def add(name: Name, hub: Hub, may: May = None, namespace: Spaces = None) -> None:
    """Add a user and print its first API key, which is told this once."""
    wish: dict[str, Any] = {"Name": name, "Capabilities": may or ["read:job", "write:job"], "Key": True}
    with hub.client() as client:
        reply = client.post(USERS, {**wish, **({"Namespaces": namespace} if namespace else {})})
    screen.say(str(reply["Key"]))
    screen.note(f"user {name} was added; its key is shown this once. Give it as TENDER_API_KEY")


@app.command()
@grouped
def change(
    name: Name,
    hub: Hub,
    may: May = None,
    namespace: Spaces = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for a new password.")] = False,
) -> None:
    """Give a user other capabilities, namespaces or a password; what is not named stays."""
    wish: dict[str, Any] = {}
    if may:
        wish["Capabilities"] = may
    if namespace:
        wish["Namespaces"] = namespace
    if password:
        wish["Password"] = typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    with hub.client() as client:
        changed = client.put(f"{USERS}/{name}", wish)["User"]
    screen.say(f"{name} may {' '.join(changed['Capabilities'])} in {' '.join(changed['Namespaces'])}")


@app.command()
@grouped
def remove(name: Name, hub: Hub) -> None:
    """Remove a user with its keys; they are refused from the next request on."""
    with hub.client() as client:
        client.delete(f"{USERS}/{name}")
    screen.say(f"{name} is removed, and its keys with it")
