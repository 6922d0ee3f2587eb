"""`tender job describe` for people: the job in short, its executions with their output, its history."""

from typing import Any

from tui import screen, views
from tui.follow import state_of
from tui.screen import milliseconds

STDOUT_LINES = 20


def describe_job(reply: dict[str, Any]) -> None:
    """Print one job with what was included in the answer."""
    job = reply["Job"]
    executions = (reply.get("Executions") or {}).get("Items") or []
    events = (reply.get("History") or {}).get("Items") or []
    message = (job.get("State") or {}).get("Message") or ""
    facts = [
        ("Job", job.get("ID", "")),
        ("Name", job.get("Name", "")),
        ("Namespace", job.get("Namespace", "")),
        ("Type", f"{job.get('Type', '')}, {views.engine(job)}, count {job.get('Count', 1)}"),
        ("Version", job.get("Version", "")),
        ("State", state_of(job).lower() + (f": {message}" if message else "")),
        ("Created", screen.moment(job.get("CreateTime"))),
        ("Changed", screen.moment(job.get("ModifyTime"))),
    ]
    if job.get("Constraints"):
        facts.append(("Constraints", ", ".join(_condition(one) for one in job["Constraints"])))
    if job.get("Labels"):
        facts.append(("Labels", ", ".join(f"{key}={value}" for key, value in job["Labels"].items())))
    screen.table(("", ""), facts, hide_header=True)
    screen.say("\nExecutions", "bold")
    views.executions(executions)
    for execution in executions:
        _output(execution)
    screen.say("\nHistory", "bold")
    views.history(events)


def _condition(one: dict[str, Any]) -> str:
    return f"{one.get('Key', '')} {one.get('Operator', '')} {' '.join(one.get('Values') or [])}".strip()


def _output(execution: dict[str, Any]) -> None:
    steps = (execution.get("Tender") or {}).get("Steps") or {}
    if steps:
        told = " · ".join(f"{name} {milliseconds(value)}" for name, value in steps.items())
        screen.say(f"\n{screen.short(execution.get('ID'))} steps: {told}")
    output = execution.get("RunOutput") or {}
    for name in ("Stdout", "stderr"):
        text = str(output.get(name) or "")
        if not text:
            continue
        lines = text.splitlines()
        screen.say(f"\n{screen.short(execution.get('ID'))} {name.lower()}:")
        for line in lines[:STDOUT_LINES]:
            screen.say(f"  {line}")
        if len(lines) > STDOUT_LINES or output.get(f"{name.capitalize()}Truncated"):
            screen.say(f"  … all of it: tender job get {execution.get('JobID', '')}")
