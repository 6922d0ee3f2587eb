"""`tender agent install`, `upgrade`, `uninstall` and `settle`: parses arguments and prints; nothing else."""

import contextlib
import errno
import os
import signal
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wire.failures import InvalidRequest, TenderError
from wire.operating.explaining import explained
from wire.quantities import parse_duration

if TYPE_CHECKING:
    from agent.install.upgrading import Upgrade

SourcePath = Annotated[Path, typer.Argument(help="A wheel of tender, or a folder of wheels with SHA256SUMS.")]
FindLinks = Annotated[Path | None, typer.Option(help="Folder with the wheels it needs, and their SHA256SUMS.")]
Requirements = Annotated[Path | None, typer.Option(help="Lock with hashes for what it needs, from the index.")]
Sha256 = Annotated[str, typer.Option(help="Hash of the wheel, if no SHA256SUMS lies beside it.")]
Prefix = Annotated[Path, typer.Option(help="Where the program goes.")]
Root = Annotated[Path, typer.Option(hidden=True, help="A folder that stands for the box, to try things out.")]
_PREFIX, _ROOT = Path("/opt/tender"), Path("/")


def install(
    source: SourcePath,
    find_links: FindLinks = None,
    requirements: Requirements = None,
    sha256: Sha256 = "",
    prefix: Prefix = _PREFIX,
    start: Annotated[bool, typer.Option("--start", help="Start it, and wait until it is ready.")] = False,  # noqa: FBT002
    root: Root = _ROOT,
) -> None:
    """Put the agent on this box: program, systemd unit, user and folders."""
    upgrade = _prepared(source, find_links, requirements, sha256, prefix, root, "120s")
    with _told():
        version = upgrade.install(start=start)
    typer.echo(f"tender {version} is installed in {upgrade.layout.home}")
    if not start:
        typer.echo(f"next: settings and join token in {upgrade.layout.settings}; systemctl start tender-agent")


def upgrade(
    source: SourcePath,
    find_links: FindLinks = None,
    requirements: Requirements = None,
    sha256: Sha256 = "",
    prefix: Prefix = _PREFIX,
    ready_within: Annotated[str, typer.Option(help="Time in which the new version must be ready.")] = "120s",
    root: Root = _ROOT,
) -> None:
    """Take this box to another release; it comes back when that is not ready in time. Running work goes on."""
    doing = _prepared(source, find_links, requirements, sha256, prefix, root, ready_within)
    # An upgrade over the network restarts what the connection may hang on: it ends what it began all the same.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with _told():
        version = doing.upgrade()
    typer.echo(f"tender {version} is current")


def uninstall(
    prefix: Prefix = _PREFIX,
    purge: Annotated[bool, typer.Option("--purge", help="Settings, identity and results too.")] = False,  # noqa: FBT002
    root: Root = _ROOT,
) -> None:
    """Stop the agent and take it off this box. Work that runs goes on: drain the node first."""
    from agent.install import upgrading  # noqa: PLC0415  the agent itself must not pay for it
    from agent.install.layout import Layout  # noqa: PLC0415  as above
    from wire.operating.systemd import Systemctl  # noqa: PLC0415  as above

    with _told():
        upgrading.uninstall(Layout(root.absolute(), prefix), Systemctl(root.absolute()), purge=purge)
    typer.echo("the agent is gone" + ("" if purge else "; settings and data stay"))


def settle(data_dir: Annotated[Path, typer.Option(help="Where the agent keeps its data.")]) -> None:
    """End what an upgrade left that was cut off; the unit does this before each start."""
    from agent.install import rescue  # noqa: PLC0415  as above

    with _told():
        if rescue.settle(data_dir):
            typer.echo("the database of before the upgrade is back")


def _prepared(
    source: Path, find_links: Path | None, lock: Path | None, sha256: str, prefix: Path, root: Path, within: str
) -> "Upgrade":
    from agent.install.building import build  # noqa: PLC0415  as above
    from agent.install.layout import Layout  # noqa: PLC0415  as above
    from agent.install.upgrading import Upgrade  # noqa: PLC0415  as above
    from agent.install.wheels import Source  # noqa: PLC0415  as above
    from wire.operating.systemd import Systemctl  # noqa: PLC0415  as above

    os.umask(0o022)  # whatever root's own is: the agent's user must be able to read the program
    with _told():
        if not prefix.is_absolute():
            raise InvalidRequest(f"--prefix {prefix} is not absolute", hint="write it from / on")
        given = Source(source.absolute(), find_links and find_links.absolute(), lock and lock.absolute(), sha256)
        box = Layout(root.absolute(), prefix)
        return Upgrade(box, partial(build, source=given), Systemctl(box.root), _say, parse_duration(within))


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        typer.echo(line)


@contextlib.contextmanager
def _told() -> Generator[None]:
    """Turns errors into a sentence, a hint, a code and exit code 1."""
    try:
        yield
    except TenderError as error:
        typer.echo(explained(error), err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        hints = {errno.EACCES: "are you root?", errno.EPERM: "are you root?", errno.ENOSPC: "make room, and try again"}
        typer.echo(explained(error, hint=hints.get(error.errno or 0, "")), err=True)
        raise typer.Exit(1) from None
