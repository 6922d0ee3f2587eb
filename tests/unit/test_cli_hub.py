"""Which hub is asked, with which key and CA, and what becomes of its errors."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hub.pki import Pki
from tests.support.hub_stub import JOB_ID, JOBS, a_job_that, hub_stub_fixture, tender_fixture
from tui.client import HubClient, hub_url
from wire.failures import InvalidRequest, TooLarge

FIXTURES = (hub_stub_fixture, tender_fixture)


@pytest.mark.parametrize(
    ("host", "port", "environment", "url"),
    [
        ("", 0, {}, "http://127.0.0.1:1234"),
        ("", 0, {"TENDER_URL": "https://hub.example/"}, "https://hub.example"),
        ("box", 0, {"TENDER_URL": "https://hub.example"}, "http://box:1234"),
        ("", 9, {"TENDER_API_HOST": "box"}, "http://box:9"),
        ("", 0, {"BACALHAU_API_HOST": "old", "BACALHAU_API_PORT": "77"}, "http://old:77"),
        ("", 0, {"TENDER_API_HOST": "new", "BACALHAU_API_HOST": "old"}, "http://new:1234"),
        ("https://hub.example", 0, {}, "https://hub.example"),
        ("https://hub.example", 8443, {}, "https://hub.example:8443"),
        ("::1", 5, {}, "http://[::1]:5"),
    ],
)
def test_options_come_before_our_variables_and_those_before_bacalhaus(host, port, environment, url):
    assert hub_url(host, port, environment) == url


@pytest.mark.parametrize(
    "environment", [{"TENDER_URL": "ftp://x"}, {"TENDER_URL": "http://x:99999"}, {"TENDER_API_PORT": "abc"}]
)
def test_an_address_that_cannot_be_one_is_refused(environment):
    with pytest.raises(InvalidRequest):
        hub_url("", 0, environment)


def test_the_key_goes_along_as_a_bearer_token(hub_stub, tender, monkeypatch):
    monkeypatch.setenv("TENDER_API_KEY", "s3cret")
    hub_stub.answer("GET", JOBS, {"Items": [], "NextToken": ""})
    assert tender("job", "list").code == 0
    assert hub_stub.last("GET").headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    ("status", "code"), [(400, 2), (401, 1), (403, 1), (404, 3), (409, 1), (413, 2), (500, 1), (503, 4)]
)
def test_each_kind_of_refusal_has_its_exit_code_message_and_hint(hub_stub, tender, status, code):
    hub_stub.refuse("GET", f"{JOBS}/x", status, "this is wrong", Hint="type that")
    ran = tender("job", "describe", "x")
    assert ran.code == code
    assert ran.err == "error: this is wrong\nhint: type that\ncode: X\n"
    assert ran.out == ""


def test_a_hub_that_is_not_there_is_exit_code_4_with_a_hint(tender, monkeypatch):
    monkeypatch.setenv("TENDER_URL", "http://127.0.0.1:9")
    ran = tender("node", "list")
    assert ran.code == 4
    assert "cannot reach http://127.0.0.1:9" in ran.err
    assert "--api-host" in ran.err


def test_something_that_is_no_hub_is_said_to_be_none(hub_stub, tender):
    hub_stub.answer("GET", JOBS, b"<html>hello</html>")
    ran = tender("job", "list")
    assert ran.code == 1
    assert "does not answer in JSON" in ran.err


@pytest.mark.parametrize(
    ("group", "command"),
    [
        ("job", "list"),
        ("job", "executions"),
        ("job", "history"),
        ("job", "versions"),
        ("node", "list"),
        ("user", "list"),
        ("key", "list"),
        ("audit", "list"),
        ("webhook", "list"),
    ],
)
def test_every_list_of_a_hub_can_be_watched(tender, group, command):
    assert "--watch " in tender(group, command, "--help").out


def test_control_characters_of_an_error_do_not_reach_the_terminal(hub_stub, tender):
    hub_stub.refuse("GET", f"{JOBS}/x", 404, "no \x1b[31mjob\x07")
    assert "\x1b" not in tender("job", "describe", "x").err


def test_an_answer_over_the_cap_is_refused(hub_stub, monkeypatch):
    monkeypatch.setattr("tui.client.MOST_JSON", 1000)
    hub_stub.answer("GET", JOBS, b"[" + b" " * 2000 + b"]")
    with HubClient(hub_stub.url) as client, pytest.raises(TooLarge):
        client.get(JOBS)


class _NoNodes(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"Nodes": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def tls_hub(tmp_path, monkeypatch):
    """A hub's API behind TLS with a certificate of its own CA; the folder with `ca.pem`."""
    pki = Pki(tmp_path)
    credentials = pki.server("api", ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.certificate, credentials.key)
    server = HTTPServer(("127.0.0.1", 0), _NoNodes)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda request, client_address: None  # noqa: ARG005  clients that do not trust us
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("TENDER_URL", f"https://localhost:{server.server_address[1]}")
    monkeypatch.delenv("TENDER_CA", raising=False)
    yield pki.ca_path
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_with_a_ca_of_its_own_is_reached_when_the_ca_is_named(tls_hub, tender, monkeypatch):
    refused = tender("node", "list")
    assert refused.code == 4
    assert "--ca or TENDER_CA" in refused.err
    assert tender("node", "list", "--ca", str(tls_hub)).code == 0
    monkeypatch.setenv("TENDER_CA", str(tls_hub))
    assert tender("node", "list").code == 0


def test_another_ca_is_not_enough(tls_hub, tender, tmp_path):
    other = Pki(tmp_path / "other").ca_path
    ran = tender("--ca", str(other), "node", "list")
    assert ran.code == 4
    assert f"is {other} the CA of this hub?" in ran.err
    assert tls_hub.exists()


@pytest.mark.parametrize(("content", "code"), [(None, 3), (b"no certificate", 2)])
def test_a_ca_file_that_cannot_be_used_is_named(tender, tmp_path, monkeypatch, content, code):
    monkeypatch.setenv("TENDER_URL", "https://localhost:9")
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    ran = tender("node", "list", "--ca", str(file))
    assert (ran.code, str(file) in ran.err) == (code, True)


def test_options_before_and_after_the_group_name_the_hub(hub_stub, tender, monkeypatch):
    monkeypatch.setenv("TENDER_URL", "http://127.0.0.1:9")
    a_job_that(hub_stub, "Completed")
    port = hub_stub.url.rpartition(":")[2]
    assert tender("job", "executions", JOB_ID, "--api-port", port).code == 0
    assert tender("--api-port", port, "job", "executions", JOB_ID).code == 0
