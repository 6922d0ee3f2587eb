"""The `tender` command: finds the group that is called, and turns errors into a sentence, a hint and an exit code."""

import os
import sys
from importlib import metadata
from typing import Annotated

import typer
from typer.main import get_command

from tui.exits import INTERRUPTED, TABLE, exit_code
from tui.lazy import LazyGroup
from wire.failures import TenderError

app = typer.Typer(
    cls=LazyGroup,
    name="tender",
    help="Runs work on fleets of edge boxes that are offline half of the time.",
    epilog=TABLE,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001
    if wanted:
        typer.echo(f"tender {metadata.version('tender')}")
        raise typer.Exit


@app.callback()
def root(
    api_host: Annotated[str, typer.Option(help="Host or URL of the hub, for all commands that talk to it.")] = "",
    api_port: Annotated[int, typer.Option(help="Port of the hub.", min=0, max=65535)] = 0,
    version: Annotated[  # noqa: FBT002
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Runs work on fleets of edge boxes that are offline half of the time."""
    del version
    if api_host or api_port:
        os.environ.pop("TENDER_URL", None)
    if api_host:
        os.environ["TENDER_API_HOST"] = api_host
    if api_port:
        os.environ["TENDER_API_PORT"] = str(api_port)


def tell(error: TenderError) -> None:
    """Say what went wrong, and what to type, on stderr."""
    typer.echo(f"error: {_plain(error.message)}", err=True)
    for line in filter(None, error.hint.splitlines()):
        typer.echo(f"hint: {_plain(line)}", err=True)


def _plain(text: str) -> str:
    """Text from a hub or a node may hold control characters; a terminal must not obey them."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def main() -> None:
    """Entry point of `tender`."""
    try:
        get_command(app)(prog_name="tender")
    except TenderError as error:
        tell(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
