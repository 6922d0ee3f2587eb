"""A hub that says what a test tells it to, over real HTTP, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

JOBS = "/api/v1/orchestrator/jobs"
NODES = "/api/v1/orchestrator/nodes"
JOB_ID = "j-11111111-2222-4333-8444-555555555555"
EXECUTION_ID = "e-66666666-7777-4888-9999-000000000000"


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class HubStub:
    """Answers by method and path: a value (status 200), (status, value), bytes, or a function of the request."""

    url: str = ""
    answers: dict[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])
    asked: list[Asked] = field(default_factory=list[Asked])

    def answer(self, method: str, path: str, value: Any) -> None:
        self.answers[method, path] = value

    def refuse(self, method: str, path: str, status: int, message: str, **more: Any) -> None:
        """An error body in Bacalhau's shape."""
        body = {"Status": status, "Message": message, "RequestID": "", "Code": "X", "Component": "Hub", **more}
        self.answers[method, path] = (status, body)

    def last(self, method: str) -> Asked:
        return [one for one in self.asked if one.method == method][-1]

    def reply(self, request: Asked) -> tuple[int, bytes]:
        self.asked.append(request)
        value = self.answers.get(
            (request.method, request.path), (404, {"Message": f"no {request.path}", "Code": "NotFound"})
        )
        if callable(value):
            value = value(request)
        status, value = value if isinstance(value, tuple) else (200, value)
        return status, value if isinstance(value, bytes) else json.dumps(value).encode()


def _handler(stub: HubStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {key.lower(): value for key, value in self.headers.items()}
            body = json.loads(data) if data else None
            status, reply = stub.reply(Asked(self.command, parts.path, parse_qs(parts.query), headers, body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815  names of the standard library

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            del format, args

    return Handler


@pytest.fixture(name="hub_stub")
def hub_stub_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    """The stub, with the environment pointing at it."""
    stub = HubStub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stub))
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("TENDER_URL", stub.url)
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def job(**fields: Any) -> dict[str, Any]:
    """A job as the hub shows it."""
    return {
        "ID": JOB_ID,
        "Name": "weather",
        "Namespace": "default",
        "Type": "batch",
        "Count": 1,
        "Tasks": [{"Name": "main", "Engine": {"Type": "wasm", "Params": {}}}],
        "State": {"StateType": "Completed"},
        "Version": 1,
        "CreateTime": 1795248132566298675,
        "ModifyTime": 1795248132748373562,
        **fields,
    }


def execution(**fields: Any) -> dict[str, Any]:
    """An execution as the hub shows it."""
    return {
        "ID": EXECUTION_ID,
        "NodeID": "n-1",
        "JobID": JOB_ID,
        "ComputeState": {"StateType": 9, "Message": "Running"},
        "DesiredState": {"StateType": 2, "Message": ""},
        "RunOutput": {"Stdout": "hello\n", "StdoutTruncated": False, "stderr": "", "ExitCode": 0, "ErrorMsg": ""},
        "CreateTime": 1795248132574299899,
        "ModifyTime": 1795248132738035307,
        "Tender": {"State": "completed", "NodeName": "north", "Attempt": 1, "Steps": {"run": 53.3}, "Reason": None},
        **fields,
    }


def event(number: int, message: str, **fields: Any) -> dict[str, Any]:
    """An event as the hub shows it."""
    time = f"2026-11-21T08:02:12.56642894{number}Z"
    return {
        "SeqNum": number,
        "Type": "JobLevel",
        "JobID": JOB_ID,
        "Event": {"Message": message, "Topic": "State Update", "Timestamp": time},
        "Time": time,
        **fields,
    }


def a_job_that(stub: HubStub, state: str, message: str = "", **execution_fields: Any) -> None:
    """Teach the stub everything about one job in one state, under its id and its name."""
    shown = job(State={"StateType": state, **({"Message": message} if message else {})})
    executions = {"NextToken": "", "Items": [execution(**execution_fields)]}
    history = {"NextToken": "", "Items": [event(1, "Job submitted"), event(2, state)]}
    stub.answer("PUT", JOBS, {"JobID": JOB_ID, "EvaluationID": "x"})
    for name in (JOB_ID, "weather"):
        stub.answer("GET", f"{JOBS}/{name}", {"Job": shown, "Executions": executions, "History": history})
        stub.answer("GET", f"{JOBS}/{name}/executions", executions)
        stub.answer("GET", f"{JOBS}/{name}/history", history)


Command = Callable[..., "Ran"]


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture(name="tender")
def tender_fixture(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`tender("job", "list")` runs the command in this process."""
    from tui.main import main

    def run(*words: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["tender", *words])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
