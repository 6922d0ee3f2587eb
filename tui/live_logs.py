"""The output of a job while something else waits for its end: how many speak, their names, and a thread that prints."""

import threading
from typing import Any

from tui import screen
from tui.client import JOBS, NODES, HubClient
from tui.follow import executions
from tui.logs import Asked, Printer, show
from wire.failures import TenderError

SIDE_BY_SIDE = ("ops", "daemon")
AFTER_END = 20.0
"""Seconds that the rest of the output may take after the job has ended."""


class LiveLogs:
    """Prints the output of all executions of a job beside."""

    def __init__(self, client: HubClient, job_id: str) -> None:
        self._client, self._job_id = client, job_id
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._complete = False

    def start(self) -> None:
        self._thread.start()

    def finish(self, *, endless: bool) -> bool:
        """Wait for the rest, without end for work that has none. Whether all was printed."""
        self._thread.join(None if endless else AFTER_END)
        return self._complete

    def _run(self) -> None:
        opened = False

        def on_open() -> None:
            nonlocal opened
            opened = True

        try:
            job = self._client.get(f"{JOBS}/{self._job_id}")["Job"]
            many = is_many(self._client, job)
            printer = Printer(many, node_names(self._client) if many else {})
            show(self._client, self._job_id, Asked(follow=True), printer, away, on_open)
            self._complete = True
        except TenderError as failed:
            if opened:
                screen.note(f"the output cannot be followed: {failed.message}")


def is_many(client: HubClient, job: dict[str, Any]) -> bool:
    """Whether the output of several executions is to be told apart."""
    if job.get("Type") in SIDE_BY_SIDE or int(job.get("Count") or 1) > 1:
        return True
    return len(executions(client, job["ID"])) > 1


def node_names(client: HubClient) -> dict[str, str]:
    """Names of nodes by their id."""
    nodes = client.get(NODES, {"limit": 1000}).get("Nodes") or []
    return {str(n["Info"]["NodeID"]): str((n.get("Tender") or {}).get("Name") or "") for n in nodes}


def away(why: str) -> None:
    """Say that the hub is away; the listening goes on when it is back."""
    screen.note(f"{why}; the work goes on, asking again")
