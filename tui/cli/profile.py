"""`tender profile …`: hubs by name, so that commands need neither address nor key."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tui import screen
from tui.cli.grouped import grouped
from tui.cli.options import Shown, profile_names
from tui.client import hub_url, trusting
from tui.profiles import CA_CAP, Credential, Profiles, config_folder, read_capped
from wire.failures import InvalidRequest

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Hubs by name: add, use, list, remove."
)
SECRET_CAP = 4096
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.", autocompletion=profile_names)]
SecretFile = Annotated[
    str, typer.Option(metavar="FILE", help="File that holds it, - for standard input; a terminal is asked.")
]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Up to 32 of a-z, 0-9, _ and -.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Like https://hub.plant.example:1234.")],
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="The hub's CA; a copy of it is kept.")] = None,
    key_file: SecretFile = "",
    username: Annotated[str, typer.Option(metavar="USER", help="Sign in by name and password.")] = "",
    password_file: SecretFile = "",
    replace: Annotated[bool, typer.Option("--replace", help="Put it in place of one of the same name.")] = False,
) -> None:
    """Keep a hub under a name. The first one is used from then on."""
    if username and key_file:
        raise InvalidRequest("a key and a user are both given", hint="leave one of them out")
    address = hub_url(url, 0, {})
    if ca:
        trusting(str(ca))
    credential = Credential(
        key=_secret(key_file, "Key") if key_file else "",
        username=username,
        password=_secret(password_file or "-", "Password") if username else "",
    )
    authority = read_capped(ca, CA_CAP) if ca else b""
    used = _profiles().add(name, address, ca=authority, credential=credential, replace=replace)
    screen.note(f"profile {name} is kept" + (" and used" if used else f"; to use it: tender profile use {name}"))


@app.command()
def use(name: Name) -> None:
    """Ask this hub wherever no other is named."""
    _profiles().use(name)
    screen.note(f"profile {name} is used")


@app.command("list")
@grouped
def list_profiles(shown: Shown) -> None:
    """All profiles, without their secrets."""
    profiles = _profiles()
    known = profiles.known()
    rows = [
        {
            "Name": name,
            "URL": one.url,
            "CA": one.ca,
            "SignsIn": profiles.credential(name).kind,
            "InUse": name == known.current,
        }
        for name, one in sorted(known.profiles.items())
    ]
    cells = [("*" if one["InUse"] else "", one["Name"], one["URL"], one["CA"], one["SignsIn"]) for one in rows]
    shown.listing(rows, ("", "NAME", "URL", "CA", "SIGNS IN BY"), cells)


@app.command()
def remove(name: Name) -> None:
    """Forget a profile, with its key."""
    _profiles().remove(name)
    screen.note(f"profile {name} is forgotten")


def _profiles() -> Profiles:
    return Profiles(config_folder())


def _secret(place: str, what: str) -> str:
    """A secret from a file or standard input: never from the command line, which others can read."""
    if place == "-" and sys.stdin.isatty():
        text = str(typer.prompt(what, hide_input=True, err=True))
    elif place == "-":
        text = sys.stdin.read(SECRET_CAP + 1)
    else:
        text = read_capped(Path(place), SECRET_CAP).decode(errors="replace")
    secret = text.strip()
    if not secret or len(secret) > SECRET_CAP or not secret.isprintable():
        raise InvalidRequest(f"the {what.lower()} is empty, or not one line of text", hint="one line, nothing else")
    return secret
