"""Submits a job and stays with it as the flags say: the same for job files, WASM programs and containers."""

import sys
from typing import Any

from tui import screen, views
from tui.cli.options import Hub, Run
from tui.client import JOBS, HubClient
from tui.dry_run import dry_run
from tui.follow import Ended, follow, require_success
from tui.live_logs import LiveLogs, away
from tui.screen import Output
from wire.jobs.parse import parse_job


def run_job(document: dict[str, Any], hub: Hub, run: Run, output: Output, *, force: bool = False) -> None:
    """Check, submit, follow, print. Raises TenderError; JobFailed when the job did not complete."""
    parsed = parse_job(document)
    for warning in parsed.warnings:
        screen.note(f"warning: {warning}")
    if run.dry_run:
        dry_run(parsed.job, document, hub, output)
        return
    with hub.client() as client:
        answer = client.put(JOBS, {"Job": document, "Force": force})
        for warning in answer.get("Warnings") or []:
            if warning not in parsed.warnings:
                screen.note(f"warning: {warning}")
        stay_with(client, answer, run, output, said=f"Job {answer['JobID']} submitted")


def stay_with(client: HubClient, answer: dict[str, Any], run: Run, output: Output, *, said: str) -> None:
    """Say what the hub took, and stay with it as the flags want. Raises as `run_job`."""
    job_id = str(answer["JobID"])
    if run.id_only:
        screen.say(job_id)
    elif output is Output.TABLE:
        screen.say(said)
    if run.wait and not (run.id_only and not run.follow):
        _stay(client, job_id, run, output, quiet=run.id_only or output is not Output.TABLE)
    elif output is not Output.TABLE and not run.id_only:
        screen.data(answer, output)
    elif not run.id_only:
        screen.say(f"Follow it: tender job describe {job_id}")


def _stay(client: HubClient, job_id: str, run: Run, output: Output, *, quiet: bool) -> None:
    live = LiveLogs(client, job_id) if run.follow and output is Output.TABLE else None

    def on_event(event: dict[str, Any]) -> None:
        # Beside the programs' own output, which may be wanted in a file.
        if not quiet:
            (screen.note if live is not None else screen.say)(views.event_line(event))

    try:
        if live is not None:
            live.start()
        ended = follow(client, job_id, seconds=run.wait_timeout_secs, on_event=on_event, on_away=away)
        told = live is not None and live.finish(endless=ended.state == "Running")
    except KeyboardInterrupt:
        screen.note(f"\nno longer waiting; the job goes on. See it: tender job describe {job_id}")
        screen.note(f"End it: tender job stop {job_id}")
        raise
    if run.follow and not told:
        print_output(ended)
    if output is not Output.TABLE:
        screen.data({"Job": ended.job, "Executions": {"Items": ended.executions}}, output)
    elif not quiet:
        _next_steps(ended)
    require_success(ended)


def print_output(ended: Ended) -> None:
    """What the programs wrote, as far as it came with their status; a terminal gets it without control characters."""
    told = [e for e in ended.executions if any((e.get("RunOutput") or {}).get(name) for name in ("Stdout", "stderr"))]
    for execution in told:
        if len(told) > 1:
            screen.note(f"── output of {screen.short(execution.get('ID'))} on {views.node_name(execution)}")
        output = execution.get("RunOutput") or {}
        for name, stream in (("Stdout", sys.stdout), ("stderr", sys.stderr)):
            text = str(output.get(name) or "")
            stream.write(screen.clean(text) if stream.isatty() else text)
            if text and not text.endswith("\n"):
                stream.write("\n")
            stream.flush()
        if output.get("StdoutTruncated") or output.get("StderrTruncated"):
            screen.note(f"the output is longer; all of it: tender job get {execution.get('JobID', '')}")


def _next_steps(ended: Ended) -> None:
    job_id = ended.job.get("ID", "")
    screen.say(f"\nJob {ended.state.lower()}. Look closer:")
    screen.say(f"  tender job describe {job_id}")
    screen.say(f"  tender why {job_id}")
    if ended.state == "Completed":
        screen.say(f"  tender job get {job_id}")
