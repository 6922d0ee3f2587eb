"""`tender key …`: API keys of the hub's users."""

from typing import Annotated, Any

import typer

from tui import screen
from tui.cli.grouped import grouped
from tui.cli.options import Hub, Shown
from tui.cli.user import May, Spaces
from tui.cli.watch import Watch
from wire.quantities import parse_duration

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="API keys of users: list, add, revoke."
)
KEYS = "/api/v1/keys"


@app.command("list")
@grouped
def list_keys(hub: Hub, shown: Shown, watch: Watch) -> None:
    """All keys, without their secrets."""
    watch.show(lambda: _list(hub, shown))


def _list(hub: Hub, shown: Shown) -> None:
    with hub.client() as client:
        reply = client.get(KEYS)
    rows = [
        (one["ID"], one["User"], one["Label"], " ".join(one["Capabilities"] or ["as its user"]), one["Expires"])
        for one in reply["Items"]
    ]
    shown.listing(reply, ("ID", "USER", "LABEL", "MAY", "EXPIRES"), rows)


@app.command()
@grouped
def add(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose key it is.")],
    hub: Hub,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    life: Annotated[str, typer.Option(metavar="TIME", help="Like 720h; for ever if not given.")] = "",
    may: May = None,
    namespace: Spaces = None,
) -> None:
    """Make a key, which is told this once. It may do no more than its user."""
    wish: dict[str, Any] = {"User": user, "Label": label, "Life": parse_duration(life) if life else 0.0}
    narrowed = {"Capabilities": may, "Namespaces": namespace}
    with hub.client() as client:
        reply = client.post(KEYS, {**wish, **{name: value for name, value in narrowed.items() if value}})
    screen.say(str(reply["Key"]))
    screen.note(f"key {reply['ID']} of {user}; it is shown this once. Give it as TENDER_API_KEY")


@app.command()
@grouped
def revoke(key: Annotated[str, typer.Argument(metavar="KEY", help="Its id, as the list shows it.")], hub: Hub) -> None:
    """Take a key back; it is refused from the next request on."""
    with hub.client() as client:
        client.delete(f"{KEYS}/{key}")
    screen.say(f"{key} is revoked")
