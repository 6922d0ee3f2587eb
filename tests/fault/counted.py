"""What counted runs share: settings from the command line, a folder, one line of figures, and the history checker."""

import argparse
import asyncio
import inspect
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from tests.fault.checker import faults_in
from tests.support.fleet import AgentProcess
from tests.support.hub_process import HubProcess

Figures = dict[str, Any]


def judged(hub: HubProcess, nodes: Iterable[AgentProcess]) -> Figures:
    """What the history checker says of folders whose owners have ended; each fault is printed."""
    faults = faults_in(hub.folder, [node.folder / "data" for node in nodes])
    for fault in faults:
        print(fault)
    return {"history_faults": len(faults)}


def show(name: str, figures: Figures) -> None:
    """One line: `name: this=1 that=2.5`."""
    words = (f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in figures.items())
    print(f"{name}: {' '.join(words)}", flush=True)


def main(run: Callable[..., Awaitable[Figures]]) -> None:
    """Run it with its defaults or what the command line says; what it leaves stays with `--folder`, or if it fails."""
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--folder", type=Path, help="an empty folder that stays")
    for name, one in list(inspect.signature(run).parameters.items())[1:]:
        if one.default is not None:  # what is None by default is for tests, which have it already
            parser.add_argument(f"--{name}", type=type(one.default), default=one.default, help=f"default {one.default}")
    given = vars(parser.parse_args(sys.argv[1:]))
    name, wanted = Path(sys.argv[0]).stem, given.pop("folder")
    folder: Path = wanted or Path(tempfile.mkdtemp(prefix=f"tender-{name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        show(name, asyncio.run(_run(run, folder, given)))
    except BaseException:
        print(f"what it left lies in {folder}", flush=True)
        raise
    if wanted is None:
        shutil.rmtree(folder, ignore_errors=True)


async def _run(run: Callable[..., Awaitable[Figures]], folder: Path, given: Figures) -> Figures:
    return await run(folder, **given)
