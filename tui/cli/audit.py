"""`tender audit …`: who changed what at the hub, and the proof that nobody changed the log."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tui import audit, screen
from tui.cli.grouped import grouped
from tui.cli.options import Hub, Shown
from tui.cli.watch import Watch
from wire.failures import Conflict

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Who changed what: list, export, verify."
)


@app.command("list")
@grouped
def list_entries(
    hub: Hub,
    shown: Shown,
    watch: Watch,
    user: Annotated[str, typer.Option(help="Changes of this user.")] = "",
    action: Annotated[str, typer.Option(help="A part of the action, like DELETE or /users.")] = "",
    target: Annotated[str, typer.Option("--object", help="A part of what was changed, like a job's id.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Like 24h or 2026-11-21T08:00:00Z.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many entries.")] = 50,
) -> None:
    """Changes, the newest first."""
    when = audit.moment_of(since) if since else ""
    filters = {"user": user, "action": action, "object": target, "since": when}
    watch.show(lambda: _list(hub, shown, filters, limit))


def _list(hub: Hub, shown: Shown, filters: dict[str, str], limit: int) -> None:
    with hub.client() as client:
        found = audit.wanted(client, filters, limit)
    entries = [audit.shown(line) for line in found]
    rows = [
        (
            entry.seq,
            screen.moment(entry.time),
            entry.user,
            entry.action,
            entry.target,
            " ".join(f"{name}={text}" for name, text in entry.details.items()),
        )
        for entry in entries
    ]
    shown.listing(msgspec.to_builtins(entries), ("SEQ", "TIME", "USER", "ACTION", "OBJECT", "DETAILS"), rows)


@app.command()
@grouped
def export(
    hub: Hub,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A new file; stdout if not given.")] = None,
) -> None:
    """Write the whole log as JSON lines, so that it can be kept and verified elsewhere."""
    with hub.client() as client:
        if file is None:
            audit.exported(audit.told_by(client), sys.stdout.buffer)
            return
        try:
            with file.open("xb") as out:
                count = audit.exported(audit.told_by(client), out)
        except FileExistsError:
            raise Conflict(f"{file} is there already", hint="name a new file") from None
    screen.note(f"{count} entries in {file}")


@app.command()
@grouped
def verify(
    hub: Hub,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="What export wrote; else the hub's log.")
    ] = None,
    noted: Annotated[
        list[str] | None, typer.Option(metavar="NUMBER:HASH", help="An end that was printed earlier; repeatable.")
    ] = None,
) -> None:
    """Prove that no entry was changed, dropped, moved or cut off. Keep the end that it prints, on another machine."""
    heads = audit.noted_heads(noted or [])
    if file is not None:
        verifier = audit.verified(audit.read_file(file), heads)
    else:
        with hub.client() as client:
            verifier = audit.verified(audit.told_by(client), heads)
    seq, digest = verifier.head
    screen.say(f"{verifier.count} entries, none changed or missing; the end is {seq}:{digest}")
