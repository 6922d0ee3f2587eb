"""The `tender` command: finds the group that is called, and turns errors into a sentence, a hint and two codes."""

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from tui.exits import FAILED, INTERRUPTED, TABLE, exit_code
from tui.lazy import LazyGroup
from tui.profiles import alone
from wire.failures import InvalidRequest, TenderError
from wire.operating.explaining import explained, lines

TRACE = "TENDER_TRACE"
LONG_RUNNING = {"hub", "agent", "devstack"}
"""Their own mistakes go into a log, so these show where it happened."""

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
    api_host: Annotated[
        str, typer.Option(metavar="HOST", help="Host or URL of the hub, for all commands that talk to it.")
    ] = "",
    api_port: Annotated[
        int, typer.Option(metavar="PORT", help="Port of the hub.", min=0, max=65535, show_default=False)
    ] = 0,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The hub's CA, on the hub at DATA_DIR/pki/ca.pem; or TENDER_CA.")
    ] = None,
    profile: Annotated[str, typer.Option(metavar="NAME", help="Hub of this profile; or TENDER_PROFILE.")] = "",
    version: Annotated[  # noqa: FBT002
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Runs work on fleets of edge boxes that are offline half of the time."""
    del version
    if profile:
        _only(profile, beside=bool(api_host or api_port))
    if api_host or api_port:
        os.environ.pop("TENDER_URL", None)
    if api_host:
        os.environ["TENDER_API_HOST"] = api_host
    if api_port:
        os.environ["TENDER_API_PORT"] = str(api_port)
    if ca:
        os.environ["TENDER_CA"] = str(ca)


def _only(profile: str, *, beside: bool) -> None:
    """Let the profile say alone which hub is asked, whatever else the environment names."""
    if beside:
        raise InvalidRequest("--profile and an address are both given", hint="leave one of them out")
    kept = alone(profile, os.environ)
    for name in [name for name in os.environ if name not in kept]:
        del os.environ[name]
    os.environ["TENDER_PROFILE"] = profile


def tell(error: TenderError) -> None:
    """Say what went wrong, and what to type, on stderr."""
    typer.echo(_plain(explained(error)), err=True)


def _plain(text: str) -> str:
    """Text from a hub or a node may hold control characters; a terminal must not obey them."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def _told(error: Exception) -> int:
    """Say what went wrong in one line and what to do in another; the exit code."""
    if isinstance(error, TenderError):
        tell(error)
        return exit_code(error)
    if isinstance(error, OSError):
        typer.echo(_plain(explained(error)), err=True)
        return FAILED
    wrong: Any = error
    if hasattr(error, "format_message"):  # the command line was wrong; the base class has no public name
        return _usage(wrong)
    message = f"a mistake in tender itself: {type(error).__name__}: {error}"
    typer.echo(_plain(lines(message, f"report it; {TRACE}=1 shows where it happened", "InternalError")), err=True)
    return FAILED


def _usage(error: Any) -> int:
    message = str(error.format_message())
    context = getattr(error, "ctx", None)
    if message.startswith("Usage:"):  # without arguments the help is the answer
        typer.echo(message, err=True)
    else:
        hint = f"{context.command_path if context else 'tender'} --help"
        typer.echo(_plain(lines(f"{message[:1].lower()}{message[1:].rstrip('.')}", hint, "Usage")), err=True)
    return int(error.exit_code)


def main() -> None:
    """Entry point of `tender`."""
    try:
        # Not standalone: typer would tell wrong usage in its own way.
        code = get_command(app)(prog_name="tender", standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        own = isinstance(error, TenderError | OSError) or hasattr(error, "format_message")
        if not own and (os.environ.get(TRACE) or LONG_RUNNING.intersection(sys.argv[1:2])):
            raise
        sys.exit(_told(error))
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
