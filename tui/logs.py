"""What programs print, live: over one connection for all executions of a job, resumed when the hub was away."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from tui import screen
from tui.client import JOBS, KINDS, HubClient, HubRefused
from wire.failures import NotFound, Unavailable

AGAIN = 1.0
"""Seconds between attempts to reach a hub that went away while its logs were followed."""
STREAMS = {1: "stdout", 2: "stderr"}
CODES = {kind.code: kind for kind in KINDS.values()}


@dataclass(frozen=True)
class Asked:
    """Which part of the output: of one execution or all, followed to the end or not, `tail` lines from the end."""

    follow: bool = False
    tail: str = ""
    execution_id: str = ""
    namespace: str = ""
    prefix: bool = False


@dataclass
class Printer:
    """Writes what comes. With `prefix` whole lines, each with its execution and node."""

    prefix: bool
    names: dict[str, str] = field(default_factory=dict[str, str])
    _rest: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def take(self, frame: dict[str, Any]) -> None:
        """One frame of the hub."""
        execution = str(frame.get("execution", ""))
        if frame.get("note"):
            screen.note(self._head(frame) + str(frame["note"]))
        value = frame.get("value") or {}
        text, name = str(value.get("Line") or ""), STREAMS.get(value.get("Type", 0), "")
        if not text or not name:
            return
        out = sys.stdout if name == "stdout" else sys.stderr
        if not self.prefix:
            _write(out, text)
            return
        whole, end, rest = (self._rest.pop((execution, name), "") + text).rpartition("\n")
        if rest:
            self._rest[execution, name] = rest
        if end:
            head = self._head(frame)
            _write(out, "".join(f"{head}{line}\n" for line in whole.split("\n")))

    def close(self) -> None:
        """Write lines that never ended."""
        for (execution, name), rest in self._rest.items():
            _write(sys.stdout if name == "stdout" else sys.stderr, f"{self._head({'execution': execution})}{rest}\n")
        self._rest.clear()

    def _head(self, frame: dict[str, Any]) -> str:
        execution = str(frame.get("execution", ""))
        if not self.prefix or not execution:
            return ""
        node = self.names.get(str(frame.get("node", ""))) or self.names.get(execution, "")
        self.names.setdefault(execution, node)
        return f"{screen.short(execution)} {node} | " if node else f"{screen.short(execution)} | "


def _write(out: TextIO, text: str) -> None:
    out.write(screen.clean(text) if out.isatty() else text)
    out.flush()


def show(
    client: HubClient,
    job: str,
    asked: Asked,
    printer: Printer,
    on_away: Callable[[str], None],
    on_open: Callable[[], None] = lambda: None,
) -> None:
    """Print the output of a job to its end. Raises TenderError; a hub that goes away while followed is waited for."""
    seen: dict[str, dict[str, int]] = {}
    opened = False
    while True:
        try:
            for frame in client.listen(f"{JOBS}/{job}/logs", _query(asked, seen)):
                if frame is None:
                    opened = True
                    on_open()
                    continue
                if frame.get("error"):
                    raise _refused(frame)
                printer.take(frame)
                _note_place(frame, seen)
        except Unavailable as away:
            if not (opened and asked.follow) or away.details.get("Code"):
                raise
            on_away(away.message)
            time.sleep(AGAIN)
            continue
        finally:
            printer.close()
        return


def _query(asked: Asked, seen: dict[str, dict[str, int]]) -> dict[str, str]:
    after = ",".join(f"{name}:{at.get('stdout', 0)}:{at.get('stderr', 0)}" for name, at in seen.items())
    return {
        "all": "true",
        "follow": "true" if asked.follow else "",
        "tail": asked.tail,
        "execution_id": asked.execution_id,
        "namespace": asked.namespace,
        "after": after,
    }


def _note_place(frame: dict[str, Any], seen: dict[str, dict[str, int]]) -> None:
    if "after" in frame and frame.get("execution"):
        seen.setdefault(str(frame["execution"]), {})[str(frame["stream"])] = int(frame["after"])


def _refused(frame: dict[str, Any]) -> Exception:
    code, text = str(frame.get("code", "")), str(frame["error"])
    error = CODES.get(code, NotFound if "not found" in text else HubRefused)(text)
    error.details["Code"] = code or "logs"
    return error
