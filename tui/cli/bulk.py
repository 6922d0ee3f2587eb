"""`tender job bulk FILE…`: many job files in one request, each with its own outcome."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tui import screen
from tui.cli.options import Hub
from tui.exits import FAILED
from tui.job_files import read_job_file

SUBMISSIONS = "/api/v1/orchestrator/submissions"
AT_ONCE = 1000
"""Jobs that the hub takes in one request."""


def bulk(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="YAML or JSON, one job each.")], hub: Hub
) -> None:
    """Submit many job files and do not wait for them."""
    jobs = [{"Job": read_job_file(file)} for file in files]
    refused = 0
    with hub.client(120) as client:
        for first in range(0, len(jobs), AT_ONCE):
            reply = client.put(SUBMISSIONS, {"Jobs": jobs[first : first + AT_ONCE]})
            refused += int(reply["Refused"])
            for file, item in zip(files[first : first + AT_ONCE], reply["Items"], strict=True):
                _tell(file, item)
    if refused:
        raise typer.Exit(FAILED)


def _tell(file: Path, item: dict[str, Any]) -> None:
    error = item.get("Error")
    if error is None:
        screen.say(f"{file}: {item['JobID']}")
        return
    screen.note(f"{file}: error: {error.get('Message', '')}")
    if error.get("Hint"):
        screen.note(f"{file}: hint: {error['Hint']}")
    screen.note(f"{file}: code: {error.get('Code', '')}")
