"""How jobs, executions, events, nodes and auctions look as tables."""

from typing import Any

from tui import screen
from tui.follow import state_of
from tui.screen import COMPUTE_STATES, clock_time, milliseconds, moment, short, size

Item = dict[str, Any]


def jobs(items: list[Item], *, hide_header: bool = False) -> None:
    rows = [
        (
            moment(j.get("CreateTime")),
            short(j.get("ID")),
            j.get("Name", ""),
            engine(j),
            j.get("Type", ""),
            state_of(j).lower(),
        )
        for j in items
    ]
    screen.table(("CREATED", "ID", "NAME", "ENGINE", "TYPE", "STATE"), rows, hide_header=hide_header)


def engine(job: Item) -> str:
    tasks = job.get("Tasks") or [{}]
    return str((tasks[0].get("Engine") or {}).get("Type", ""))


def execution_state(item: Item) -> str:
    """Tender's own word when the hub is Tender, else Bacalhau's number in words."""
    own = (item.get("Tender") or {}).get("State")
    number = int((item.get("ComputeState") or {}).get("StateType") or 0)
    return str(own or COMPUTE_STATES.get(number, number or ""))


def node_name(item: Item) -> str:
    return str((item.get("Tender") or {}).get("NodeName") or item.get("NodeID", ""))


def executions(items: list[Item], *, hide_header: bool = False) -> None:
    rows = [
        (
            clock_time(e.get("CreateTime")),
            clock_time(e.get("ModifyTime")),
            short(e.get("ID")),
            node_name(e),
            e.get("PartitionIndex", 0),
            (e.get("Tender") or {}).get("Attempt", ""),
            execution_state(e),
            exit_code(e),
            (e.get("ComputeState") or {}).get("Message", ""),
        )
        for e in items
    ]
    columns = ("CREATED", "CHANGED", "ID", "NODE", "SLOT", "ATTEMPT", "STATE", "EXIT", "MESSAGE")
    screen.table(columns, rows, hide_header=hide_header)


def exit_code(item: Item) -> str:
    output = item.get("RunOutput") or {}
    known = execution_state(item) in {"completed", "failed", "publishing", "timed_out"}
    return str(output.get("ExitCode", "")) if output and known else ""


def event_row(event: Item) -> tuple[str, str, str, str]:
    body = event.get("Event") or {}
    return (
        clock_time(event.get("Time")),
        short(event.get("ExecutionID")),
        str(body.get("Topic", "")),
        str(body.get("Message", "")),
    )


def history(items: list[Item], *, hide_header: bool = False) -> None:
    screen.table(("TIME", "EXECUTION", "TOPIC", "EVENT"), [event_row(e) for e in items], hide_header=hide_header)


def event_line(event: Item) -> str:
    """One event as a line, for following live."""
    time, execution, topic, message = event_row(event)
    return f"{time:13}  {execution:10}  {topic:13}  {message}"


def nodes(items: list[Item], *, hide_header: bool = False) -> None:
    columns = ("ID", "NAME", "APPROVAL", "STATE", "SEEN", "LABELS", "ENGINES", "CPU", "MEMORY", "DISK", "RUNNING")
    screen.table(columns, [_node_row(n) for n in items], hide_header=hide_header)


def _node_row(item: Item) -> tuple[object, ...]:
    info = item.get("Info") or {}
    compute = info.get("ComputeNodeInfo") or {}
    own = item.get("Tender") or {}
    most, free = compute.get("MaxCapacity") or {}, compute.get("AvailableCapacity") or {}
    age = own.get("AgeSeconds")
    return (
        short(info.get("NodeID")),
        own.get("Name", ""),
        str(item.get("Membership", "")).lower(),
        own.get("State") or str(item.get("Connection", "")).lower(),
        f"{age:.0f} s ago" if isinstance(age, int | float) else "",
        "\n".join(f"{key}={value}" for key, value in (info.get("Labels") or {}).items()),
        "\n".join(compute.get("ExecutionEngines") or []),
        f"{free.get('CPU', 0):g} / {most.get('CPU', 0):g}",
        f"{size(free.get('Memory', 0))} / {size(most.get('Memory', 0))}",
        f"{size(free.get('Disk', 0))} / {size(most.get('Disk', 0))}",
        compute.get("RunningExecutions", 0),
    )


def tender(item: Item) -> None:
    """One auction: a line on how it went, then a row for each node that was asked."""
    took = milliseconds(item.get("Milliseconds"))
    bids: list[Item] = item.get("Bids") or []
    kind = "direct award" if item.get("Direct") else f"auction among {len(bids)}"
    head = f"slot {item.get('Slot', 0)}, attempt {item.get('Attempt', 1)}: {kind}, {item.get('State', '')}"
    screen.say(head + (f" in {took}" if took else "") + (f": {item['Message']}" if item.get("Message") else ""))
    if bids:
        screen.table(("  NODE", "OUTCOME", "SCORE", "ANSWERED", "REASON", "HINT"), [_bid_row(bid) for bid in bids])


def _bid_row(bid: Item) -> tuple[str, ...]:
    reasons: list[Item] = bid.get("Reasons") or []
    offered = bid.get("Outcome") in {"won", "lost", "bid"}
    return (
        f"  {bid.get('NodeName') or short(bid.get('NodeID'))}",
        str(bid.get("Outcome", "")),
        f"{bid.get('Score', 0):g} → {bid.get('Rank', 0):g}" if offered else "",
        milliseconds(bid.get("AnsweredMilliseconds")) if bid.get("Outcome") not in {"silent", "waiting"} else "",
        "\n".join(f"{r.get('Code', '')}: {r.get('Message', '')}" for r in reasons),
        "\n".join(str(r.get("Hint", "")) for r in reasons),
    )
