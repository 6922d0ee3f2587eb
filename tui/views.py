"""How jobs, executions, events, nodes and auctions look as tables."""

from typing import Any

from tui import screen
from tui.follow import state_of
from tui.screen import COMPUTE_STATES, ago, clock_time, milliseconds, moment, of, short

Item = dict[str, Any]
LONG = 36
"""A message with more letters does not fit beside the other columns."""
FOUND_LABELS = {"os_type", "os_arch", "name"}
"""Labels that every agent finds out by itself."""


def jobs(items: list[Item], *, hide_header: bool = False) -> None:
    rows = [
        (
            moment(j.get("CreateTime")),
            short(j.get("ID")),
            "" if j.get("Name") == j.get("ID") else j.get("Name", ""),
            engine(j),
            j.get("Type", ""),
            state_of(j).lower(),
        )
        for j in items
    ]
    screen.table(("CREATED", "ID", "NAME", "ENGINE", "TYPE", "STATE"), rows, hide_header=hide_header)


def versions(items: list[Item], *, hide_header: bool = False) -> None:
    rows = [
        (
            j.get("Version", ""),
            moment(j.get("ModifyTime")),
            j.get("Count", ""),
            j.get("Priority", ""),
            (j.get("Rollout") or {}).get("State", ""),
            (j.get("Rollout") or {}).get("Message", ""),
        )
        for j in items
    ]
    screen.table(("VERSION", "MADE", "COUNT", "PRIORITY", "ROLLOUT", "MESSAGE"), rows, hide_header=hide_header)


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
    """One row each; long messages stand below, each once, where there is room to read them."""
    columns = ["CREATED", "CHANGED", "ID", "NODE", "SLOT", "ATTEMPT", "STATE", "EXIT", "MESSAGE"]
    below = any(len(message(e)) > LONG for e in items)
    rows: list[tuple[object, ...]] = [
        (
            clock_time(e.get("CreateTime")),
            clock_time(e.get("ModifyTime")),
            short(e.get("ID")),
            node_name(e),
            e.get("PartitionIndex", 0),
            (e.get("Tender") or {}).get("Attempt", ""),
            execution_state(e),
            exit_code(e),
            message(e),
        )[: 8 if below else 9]
        for e in items
    ]
    screen.table(columns[: 8 if below else 9], rows, hide_header=hide_header)
    if below:
        said: dict[str, list[str]] = {}
        for e in items:
            said.setdefault(message(e), []).append(short(e.get("ID")))
        for text, who in said.items():
            if text:
                screen.say(f"{', '.join(who)}: {text}")


def message(item: Item) -> str:
    """What is said of an execution beyond its state; Bacalhau's shapes say "Running" of a completed one."""
    text = str((item.get("ComputeState") or {}).get("Message", ""))
    return "" if text.lower().replace(" ", "_") in {"running", execution_state(item)} else text


def exit_code(item: Item) -> str:
    output = item.get("RunOutput") or {}
    known = execution_state(item) in {"completed", "failed", "publishing", "timed_out"}
    code = output.get("ExitCode", -1)
    return str(code) if output and known and code != -1 else ""


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


def nodes(items: list[Item], *, hide_header: bool = False, wide: bool = False) -> None:
    """The fleet, free of whole, in 100 columns; `wide` adds disk, and labels that agents find out by themselves."""
    columns = ["ID", "NAME", "APPROVAL", "STATE", "SEEN", "ENGINES", "CPU", "MEMORY", "RUNS", "LABELS"]
    if wide:
        columns.insert(8, "DISK")
    rows = [_node_row(n, wide=wide) for n in items]
    screen.table(columns, rows, hide_header=hide_header, keep=set(columns) - {"NAME", "LABELS"}, wide=wide)


def _node_row(item: Item, *, wide: bool) -> list[object]:
    info = item.get("Info") or {}
    compute = info.get("ComputeNodeInfo") or {}
    own = item.get("Tender") or {}
    most, free = compute.get("MaxCapacity") or {}, compute.get("AvailableCapacity") or {}
    age = own.get("AgeSeconds")
    labels = {k: v for k, v in (info.get("Labels") or {}).items() if wide or k not in FOUND_LABELS}
    row: list[object] = [
        short(info.get("NodeID")),
        own.get("Name", ""),
        str(item.get("Membership", "")).lower(),
        _state(own) or str(item.get("Connection", "")).lower(),
        ago(age) if isinstance(age, int | float) else "",
        "\n".join(compute.get("ExecutionEngines") or []),
        f"{free.get('CPU', 0):g}/{most.get('CPU', 0):g}",
        of(free.get("Memory", 0), most.get("Memory", 0)),
        compute.get("RunningExecutions", 0),
        "\n".join(f"{key}={value}" for key, value in labels.items()),
    ]
    if wide:
        row.insert(8, of(free.get("Disk", 0), most.get("Disk", 0)))
    return row


def _state(own: Item) -> str:
    """Of a node that sleeps or is in maintenance also how long still, below the word."""
    back = own.get("BackInSeconds")
    left = f"\n{screen.span(back)} more" if isinstance(back, int | float) else ""
    return f"{own.get('State') or ''}{left}"


def tender(item: Item) -> None:
    """One auction: a line on how it went, then a row for each node that was asked."""
    took = milliseconds(item.get("Milliseconds"))
    bids: list[Item] = item.get("Bids") or []
    kind = "direct award" if item.get("Direct") else f"auction among {len(bids)}"
    head = f"slot {item.get('Slot', 0)}, attempt {item.get('Attempt', 1)}: {kind}, {item.get('State', '')}"
    screen.say(head + (f" in {took}" if took else "") + (f": {item['Message']}" if item.get("Message") else ""))
    if not bids:
        return
    screen.table(("  NODE", "OUTCOME", "SCORE", "ANSWERED"), [_bid_row(bid) for bid in bids])
    said: dict[tuple[str, str], list[str]] = {}
    for bid in bids:
        for reason in bid.get("Reasons") or []:
            text = f"{reason.get('Code', '')}: {reason.get('Message', '')}"
            said.setdefault((text, str(reason.get("Hint", ""))), []).append(_bidder(bid))
    for (text, hint), who in said.items():
        screen.say(f"  {', '.join(who)}: {text}")
        if hint:
            screen.say(f"    hint: {hint}")


def _bidder(bid: Item) -> str:
    return str(bid.get("NodeName") or short(bid.get("NodeID")))


def _bid_row(bid: Item) -> tuple[str, ...]:
    outcome = str(bid.get("Outcome", ""))
    return (
        f"  {_bidder(bid)}",
        outcome,
        f"{bid.get('Score', 0):g} → {bid.get('Rank', 0):g}" if outcome in {"won", "lost", "bid"} else "",
        milliseconds(bid.get("AnsweredMilliseconds")) if outcome not in {"silent", "waiting"} else "",
    )
