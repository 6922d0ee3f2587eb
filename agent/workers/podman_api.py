"""Podman's API through podman-py: every request has a deadline, every failure becomes a Reason."""

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from copy import copy
from typing import Any
from urllib.parse import quote

import requests
from podman import PodmanClient
from podman.errors import APIError

from agent.executors.podman_socket import unavailable, unresponsive
from wire.clock import monotonic
from wire.failures import ExecutionFailed, Reason

CONNECT_FOR = 5.0
"""Seconds for which a refused connection is tried again: a restart of the service is no failure."""
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", re.ASCII)
LINE_CAP = 64 * 1024
FRESH = {"created", "configured", "initialized"}
RUNNING = {"running", "stopping", "paused"}
NEVER = "0001"
"""Podman's year for what did not happen."""


class Refused(Exception):
    """Podman answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Api:
    """One client for all threads of the driver. Each request has `deadline` seconds."""

    def __init__(self, socket: str, deadline: float = 30.0) -> None:
        self.socket = socket
        self.deadline = deadline
        # requests itself is used below podman-py's managers: those drop options without a word
        # (nano_cpus, security_opt, timeout), and their pull does not notice a failure
        self._client = PodmanClient(base_url=f"unix://{socket}", timeout=30, max_pool_size=32)

    def within(self, deadline: float) -> "Api":
        """The same client with another deadline."""
        other = copy(self)
        other.deadline = deadline
        return other

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._ask("GET", path, params)

    def post(self, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        return self._ask("POST", path, params, body)

    def delete(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._ask("DELETE", path, params)

    def lines(self, path: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """A POST that is answered with one JSON object per line. The deadline holds for the whole."""
        end = monotonic() + self.deadline
        try:
            answer: Any = self._client.api.post(path, params=dict(params), timeout=self.deadline, stream=True)
            with closing(answer):
                if answer.status_code >= 400:
                    raise Refused(answer.status_code, _message(answer.text))
                for line in answer.iter_lines(chunk_size=1024):
                    if monotonic() > end:
                        raise ExecutionFailed(unresponsive(self.deadline))
                    if line and len(line) < LINE_CAP:
                        yield json.loads(line)
        except (APIError, requests.RequestException) as error:
            raise ExecutionFailed(self._reason(error)) from error

    def _ask(self, method: str, path: str, params: Mapping[str, Any] | None, body: Any = None) -> Any:
        """One request. Every one that we make may be repeated, so a broken connection is tried again."""
        data = None if body is None else json.dumps(body)
        end = monotonic() + min(self.deadline, CONNECT_FOR)
        calls = {"GET": self._client.api.get, "DELETE": self._client.api.delete}
        while True:
            try:
                if method == "POST":
                    answer = self._client.api.post(path, params=params, data=data, timeout=self.deadline)
                else:
                    answer = calls[method](path, params=params, timeout=self.deadline)
                break
            except (APIError, requests.RequestException) as error:
                if _timed_out(error) or monotonic() > end:
                    raise ExecutionFailed(self._reason(error)) from error
                time.sleep(0.1)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, _message(answer.text))
        return answer.json() if answer.content else None

    def _reason(self, error: BaseException) -> Reason:
        if _timed_out(error):
            return unresponsive(self.deadline)
        return unavailable(self.socket, str(error) if os.path.exists(self.socket) else "no such file")  # noqa: PTH110


def container_name(execution_id: str) -> str:
    """The container's name; it is what makes a second start find the first."""
    name = f"tender-{execution_id}"
    if not NAME.fullmatch(name):
        raise ExecutionFailed(Reason("execution-id", f"{execution_id[:80]!r} cannot be a name", retryable=False))
    return name


def inspect(api: Api, name: str) -> dict[str, Any] | None:
    """All that Podman knows of a container; None when there is none."""
    try:
        found: dict[str, Any] = api.get(f"/containers/{quote(name)}/json")
    except Refused as refused:
        if refused.status == 404:
            return None
        raise
    return found


def fresh(state: dict[str, Any]) -> bool:
    """Whether the program was never let go. After a restart of the box Podman calls what ran `created` again."""
    return state["State"]["Status"] in FRESH and str(state["State"]["StartedAt"]).startswith(NEVER)


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return text[:500]


def _timed_out(error: BaseException | None) -> bool:
    """Whether the end of the chain of causes is a time-out: podman-py wraps everything as APIError."""
    while error is not None:
        if isinstance(error, requests.Timeout | TimeoutError) or "timed out" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
