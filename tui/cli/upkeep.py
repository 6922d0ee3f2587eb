"""`tender node label|drain|undrain|maintenance`: what operators do with nodes."""

from typing import Annotated, Any

import typer

from tui import screen
from tui.cli.options import Hub, NodeName
from tui.client import NODES
from wire.failures import InvalidRequest

Message = Annotated[str, typer.Option("-m", "--message", help="Why; shown with the node.")]


def label(
    node: NodeName,
    labels: Annotated[list[str], typer.Argument(metavar="NAME=VALUE…", help="NAME=VALUE gives, NAME- takes away.")],
    hub: Hub,
) -> None:
    """Give a node labels beside those of its owner."""
    changes: dict[str, str | None] = {}
    for word in labels:
        key, equals, value = word.partition("=")
        if equals:
            changes[key] = value
        elif word.endswith("-"):
            changes[word[:-1]] = None
        else:
            raise InvalidRequest(f"{word[:80]!r} is no label", hint="write NAME=VALUE, or NAME- to take it away")
    told = _put(hub, node, "labels", {"Labels": changes})
    given = told["Tender"].get("GivenLabels") or {}
    screen.say(f"{node} has from operators: {', '.join(f'{k}={v}' for k, v in given.items()) or 'no labels'}")


def drain(
    node: NodeName,
    hub: Hub,
    deadline: Annotated[str, typer.Option(metavar="TIME", help="Like 1h: then its work goes to other nodes.")] = "",
    message: Message = "",
) -> None:
    """Give a node no more work; what runs goes on, at most until the deadline."""
    _put(hub, node, "drain", {"Deadline": deadline, "Message": message})
    then = f", and after {deadline} what other nodes can do is moved" if deadline else ""
    screen.say(f"{node} drains: it gets no more work{then}")


def maintenance(
    node: NodeName,
    hub: Hub,
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="Like 2h; else until undrain.")] = "",
    message: Message = "",
) -> None:
    """Give a node no more work, and take its absence for no fault."""
    _put(hub, node, "maintenance", {"Duration": duration, "Message": message})
    screen.say(f"{node} is in maintenance" + (f" for {duration}" if duration else "; end it with tender node undrain"))


def undrain(node: NodeName, hub: Hub) -> None:
    """Let a node work again after a drain or maintenance."""
    _put(hub, node, "undrain", {})
    screen.say(f"{node} is asked for bids again")


def _put(hub: Hub, node: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
    with hub.client() as client:
        found = client.get(f"{NODES}/{node}")["Node"]
        reply: dict[str, Any] = client.put(f"{NODES}/{found['Info']['NodeID']}/{what}", body)["Node"]
    return reply
