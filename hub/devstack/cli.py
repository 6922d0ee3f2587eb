"""`tender devstack`: parses its options and prints."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from hub.devstack.nodes import plan
from hub.devstack.stack import Settings
from hub.devstack.stack import run as run_stack
from wire.failures import InvalidRequest

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, help="A hub, a broker and nodes on this machine, to try things."
)


@app.command()
def devstack(
    nodes: Annotated[int | None, typer.Option(min=0, max=100, help="How many nodes; 3 unless files say.")] = None,
    node_config: Annotated[
        list[Path] | None, typer.Option(help="Settings of one node (TOML); may be repeated.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Everything is kept here; a restart goes on.")] = Path(
        "tender-devstack"
    ),
    api_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the REST API; 0 takes a free one.")] = 1234,
    policy: Annotated[Path | None, typer.Option(help="The hub's policy (TOML), as for `hub serve`.")] = None,
    podman: Annotated[str, typer.Option(help="Ready-made nodes with a private Podman: first, all or none.")] = "first",
) -> None:
    """Run a hub with its own broker and some nodes until Ctrl-C. Prints `ready URL` when jobs can run."""
    if podman not in {"first", "all", "none"}:
        raise InvalidRequest(f"--podman {podman[:40]} is not known", hint="first, all or none")
    configs = node_config or []
    count = nodes if nodes is not None else len(configs) or 3
    home = data_dir.absolute()
    try:
        planned = plan(home / "nodes", max(count, len(configs)), configs, podman)
    except OSError as failed:
        raise InvalidRequest(
            f"cannot use {home}: {(failed.strerror or str(failed)).lower()}", hint="give a folder with --data-dir"
        ) from None
    asyncio.run(run_stack(Settings(home, api_port, planned, policy.absolute() if policy else None), say=_say))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  the lines that people and scripts wait for
