"""`tender job get`: results into a folder, with progress on a terminal."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from tui import screen
from tui.client import JOBS, HubClient
from tui.results import Fetched, fetch
from tui.screen import Output
from wire.failures import NotFound


class _Bar(AbstractContextManager["_Bar"]):
    """A progress bar on stderr when that is a terminal; silent otherwise."""

    def __init__(self) -> None:
        columns = (TextColumn("results"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        console = Console(stderr=True, markup=False)
        self._bar = Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True)
        self._task = self._bar.add_task("results", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, came: int, total: int) -> None:
        self._bar.update(self._task, completed=came, total=total or None)


def get_results(
    client: HubClient, job: str, namespace: str, folder: Path | None, output: Output, *, overwrite: bool, raw: bool
) -> None:
    """Find the job, bring its results, say where they are. Raises TenderError."""
    found: dict[str, Any] = client.get(f"{JOBS}/{job}", {"namespace": namespace})["Job"]
    job_id = str(found["ID"])
    target = folder or Path(f"job-{screen.short(job_id)}")
    with _Bar() as progress:
        fetched = fetch(client, job_id, target, overwrite=overwrite, raw=raw, progress=progress)
    if output is not Output.TABLE:
        screen.data(
            {
                "JobID": job_id,
                "Folder": str(fetched.folder.absolute()),
                "Files": fetched.files,
                "Verified": fetched.verified,
                "Elsewhere": fetched.elsewhere,
            },
            output,
        )
    else:
        _tell(fetched)
    if not fetched.files and not fetched.elsewhere:
        raise NotFound(f"the result of {job_id} holds no file")


def _tell(fetched: Fetched) -> None:
    if fetched.files:
        checked = f", {fetched.verified} verified by hash" if fetched.verified else ""
        screen.say(f"Results in {fetched.folder}: {len(fetched.files)} files{checked}")
        for name in fetched.files[:50]:
            screen.say(f"  {fetched.folder / name}")
        if len(fetched.files) > 50:
            screen.say(f"  … and {len(fetched.files) - 50} more")
    for item in fetched.elsewhere:
        screen.say("Kept elsewhere:")
        screen.data(item, Output.YAML)
