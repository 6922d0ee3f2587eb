"""`tender hub backup` and `restore`: parses arguments and prints; nothing else."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from wire.failures import TenderError
from wire.operating.explaining import explained
from wire.quantities import format_size

DataDir = Annotated[Path, typer.Option(help="Where the hub keeps its data.")]


def backup(
    target: Annotated[Path, typer.Argument(help="New folder for the backup; it will hold private keys.")],
    data_dir: DataDir = Path("tender-hub"),
) -> None:
    """Copy database, keys and blobs of a hub, also while it runs."""
    from hub.backups.backup import back_up  # noqa: PLC0415  --help must not pay for the whole hub

    try:
        index = back_up(data_dir.absolute(), target.absolute())
    except TenderError as error:
        _fail(error)
    except OSError as error:
        _fail(error, "no backup was made", "is there room, and may you read the hub's folder?")
    typer.echo(f"{target}: {len(index.files)} files, {format_size(index.size)}; keep it safe, it holds private keys")


def restore(
    source: Annotated[Path, typer.Argument(help="Folder that `tender hub backup` made.")],
    data_dir: DataDir = Path("tender-hub"),
) -> None:
    """Bring a hub back from a backup. The hub must not run; what is there is moved aside."""
    from hub.backups.restore import restore as bring_back  # noqa: PLC0415  as above

    try:
        index, aside = bring_back(source.absolute(), data_dir.absolute())
    except TenderError as error:
        _fail(error)
    except OSError as error:
        _fail(error, "nothing was restored", "is there room, and may you write beside the hub's folder?")
    typer.echo(f"restored {len(index.files)} files into {data_dir}")
    if aside is not None:
        typer.echo(f"what was there lies in {aside}")
    typer.echo("start the hub now; its nodes tell it what they did since the backup. Join tokens have to be made anew")


def _fail(error: TenderError | OSError, outcome: str = "", hint: str = "") -> NoReturn:
    typer.echo(explained(error, hint=hint, outcome=outcome), err=True)
    raise typer.Exit(1)
