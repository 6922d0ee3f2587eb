"""The table of operations: name, summary, and a sample of the answer. A test holds it to the application's routes."""

import functools
from typing import Any

from hub.api.described import samples, webhooks
from hub.api.described.samples import ENTRY, JOB_ID, KEY, USER, page

JOBS = "/api/v1/orchestrator/jobs"
NODES = "/api/v1/orchestrator/nodes"
WARNINGS = ["job ID is ignored when submitting a batch job"]
EVALUATION = "5d1f6c0e-3b52-4a86-8e0e-2f0c9a7b1d34"
Told = tuple[str, str, Any]
"""Name, summary, and a sample of the answer: a value for JSON, or the type of a body that is none."""


@functools.cache
def operations() -> dict[tuple[str, str], Told]:
    """By method and path."""
    return {**_jobs(), **_lists(), **_nodes(), **_users(), **_hub(), **webhooks.operations()}


def _jobs() -> dict[tuple[str, str], Told]:
    job = samples.job()
    done = {"JobID": JOB_ID, "EvaluationID": EVALUATION, "Warnings": WARNINGS}
    return {
        ("put", JOBS): ("submitJob", "Submit a job, or a new version of one", done),
        ("post", JOBS): ("submitJobByPost", "The same by POST", done),
        ("put", f"{JOBS}/validate"): (
            "validateJob", "What would be stored for a job", {"Job": samples.EXAMPLE_JOB, "Warnings": WARNINGS},
        ),
        ("put", f"{JOBS}/diff"): (
            "diffJob", "What a version would change", {"Diff": '-  "Count": 1\n+  "Count": 2\n', "Warnings": WARNINGS},
        ),
        ("put", "/api/v1/orchestrator/submissions"): (
            "submitJobs",
            "Submit many jobs",
            {"Items": [{**done, "Error": {"Status": 400, "Message": "…", "Code": "BadRequest", "Component": "Hub"}}],
             "Accepted": 1, "Refused": 0},
        ),
        ("get", f"{JOBS}/{{name}}"): (
            "getJob",
            "One job",
            {"Job": job, "History": page(samples.event()), "Executions": page(samples.execution())},
        ),
        ("delete", f"{JOBS}/{{name}}"): ("stopJob", "Stop or purge a job", {"EvaluationID": EVALUATION}),
        ("put", f"{JOBS}/{{name}}/rerun"): (
            "rerunJob",
            "Run a job once more",
            {"JobID": JOB_ID, "JobVersion": 2, "EvaluationID": EVALUATION, "Warnings": WARNINGS},
        ),
        ("get", f"{JOBS}/{{name}}/rollout"): (
            "getRollout",
            "How the newest version takes over",
            {"JobID": JOB_ID, "JobVersion": 2, "State": "running", "Healthy": 1, "Message": "",
             "Started": "2026-05-28T20:26:40.000000000Z", "Ended": None},
        ),
        ("get", f"{JOBS}/{{name}}/results"): (
            "listResults",
            "Where the results can be fetched",
            page({"Type": "urlDownload", "Params": {"URL": "https://hub.plant.example:1234/…"}}),
        ),
        ("get", "/api/v1/orchestrator/results/{name}"): ("getResult", "One result as an archive", "application/gzip"),
    }  # fmt: skip


def _lists() -> dict[tuple[str, str], Told]:
    job = samples.job()
    reason = {"Code": "memory", "Count": 3, "Nodes": ["north"], "Message": "needs 64 MB memory", "Hint": "ask for less"}
    asleep = {"NodeID": samples.NODE_ID, "NodeName": "ridge", "BackAt": "2026-05-28T22:26:40Z", "BackInSeconds": 1800.0}
    why = {
        "JobID": JOB_ID, "State": "queued", "Message": "", "Total": 1, "NextToken": "", "Reasons": [reason],
        "Asleep": [asleep], "Tenders": [samples.tender()],
    }  # fmt: skip
    used = {"Name": "default", "Jobs": 2, "Executions": 1, "CPUSeconds": 3.5, "StoredBytes": 1200, "Quota": {"Jobs": 9}}
    return {
        ("get", JOBS): ("listJobs", "Jobs, in pages", page(job)),
        ("get", f"{JOBS}/{{name}}/history"): ("listHistory", "Events of a job, in order", page(samples.event())),
        ("get", f"{JOBS}/{{name}}/executions"): ("listExecutions", "Executions of a job", page(samples.execution())),
        ("get", f"{JOBS}/{{name}}/versions"): ("listVersions", "Versions of a job", page(job)),
        ("get", f"{JOBS}/{{name}}/why"): ("explainJob", "Why it runs where it runs, or nowhere", why),
        ("get", "/api/v1/orchestrator/namespaces"): (
            "listNamespaces", "What each namespace uses and may use", {"Items": [used]},
        ),
        ("get", "/api/v1/events"): ("streamEvents", "What happens, as it happens", "text/event-stream"),
    }  # fmt: skip


def _nodes() -> dict[tuple[str, str], Told]:
    told = {"Number": 7, "Topic": "disk", "Message": "pass → fail: the file system is read-only", "Lost": 0}
    node = samples.node()
    events = [{**told, "At": "2026-05-28T22:26:40Z", "Heard": "2026-05-28T22:26:41Z"}]
    one = {"Node": {**node, "Tender": {**node["Tender"], "Events": events}}}
    joined = {
        "node_id": samples.NODE_ID, "certificate": "-----BEGIN CERTIFICATE-----…", "ca": "-----BEGIN CERTIFICATE-----…",
        "brokers": ["hub.plant.example:8883"], "hub_id": "hub", "hub_order_key": "9f" * 32, "root": "tender",
        "membership": "pending", "renew_at": 1_781_000_000, "not_after": 1_782_592_000,
    }  # fmt: skip
    return {
        ("get", NODES): ("listNodes", "The nodes of the fleet", {"NextToken": "", "Nodes": [samples.node()]}),
        ("get", f"{NODES}/{{name}}"): ("getNode", "One node", one),
        ("put", f"{NODES}/{{name}}"): (
            "decideNode", "Approve, reject or delete a node", {"Success": True, "Error": ""},
        ),
        ("post", f"{NODES}/token"): ("makeJoinToken", "A token with which a box joins", {"Token": "tender1.…"}),
        ("put", f"{NODES}/{{name}}/labels"): ("labelNode", "Give labels to a node, or take them", one),
        ("put", f"{NODES}/{{name}}/drain"): ("drainNode", "Give a node no more work", one),
        ("put", f"{NODES}/{{name}}/undrain"): ("undrainNode", "End a drain or maintenance", one),
        ("put", f"{NODES}/{{name}}/maintenance"): ("maintainNode", "Put a node into maintenance", one),
        ("post", "/api/v1/agent/enrol"): ("enrolNode", "A box joins with its token", joined),
        ("post", "/api/v1/agent/renew"): ("renewCertificate", "A node's next certificate", joined),
    }  # fmt: skip


def _users() -> dict[tuple[str, str], Told]:
    done, secret = {"Success": True}, "tk_4f9c1b2a3d5e6f70_…"
    who = {
        "Name": "ann", "Key": KEY["ID"], "Capabilities": ["read:job"], "Namespaces": ["default"], "Open": False,
    }  # fmt: skip
    log = {"NextToken": "", "Head": {"Seq": 1, "Hash": ENTRY["Hash"]}, "Items": [ENTRY]}
    return {
        ("get", "/api/v1/users"): ("listUsers", "All users", page(USER)),
        ("post", "/api/v1/users"): ("addUser", "Add a user", {"User": USER, "Key": secret}),
        ("get", "/api/v1/users/{name}"): ("getUser", "One user with its keys", {"User": USER, "Keys": [KEY]}),
        ("put", "/api/v1/users/{name}"): ("changeUser", "Change what a user may do", {"User": USER}),
        ("delete", "/api/v1/users/{name}"): ("removeUser", "Remove a user and its keys", done),
        ("get", "/api/v1/keys"): ("listKeys", "All API keys", page(KEY)),
        ("post", "/api/v1/keys"): ("addKey", "Make an API key", {"Key": secret, **KEY}),
        ("delete", "/api/v1/keys/{key_id}"): ("revokeKey", "Take an API key back", done),
        ("get", "/api/v1/whoami"): ("whoAmI", "Who the caller is", who),
        ("get", "/api/v1/audit"): ("listAudit", "Who changed what", log),
    }


def _hub() -> dict[tuple[str, str], Told]:
    version = {
        "Major": "1", "Minor": "9", "GitVersion": "v1.9.3", "GitCommit": "", "BuildDate": "1970-01-01T00:00:00Z",
        "GOOS": "linux", "GOARCH": "amd64",
    }  # fmt: skip
    own = {
        "NodeID": "hub", "NodeType": "Requester", "Labels": {"name": "hub"}, "SupportedProtocols": ["tender/1"],
        "BacalhauVersion": version,
    }  # fmt: skip
    settings = {"config": {"API": {"Host": "127.0.0.1", "Port": 1234}}}
    now = {"DiscoveredNodes": [samples.node()], "Board": {"Jobs": 3, "Auctions": 1}}
    challenge = {"type": "challenge", "params": {"InputPhrase": "aHVi"}}
    token = {"Authentication": {"success": True, "token": "open-…"}}
    return {
        ("get", "/api/v1/agent/alive"): ("isAlive", "Whether the hub answers", {"Status": "OK"}),
        ("get", "/api/v1/agent/version"): ("getVersion", "The API level that the hub speaks", version),
        ("get", "/api/v1/agent/node"): ("getHub", "The hub as a node", own),
        ("get", "/api/v1/agent/config"): ("getConfig", "The hub's settings", settings),
        ("get", "/api/v1/agent/authconfig"): (
            "getAuthConfig", "Settings of a sign-on by browser", {"Version": "1.0.0", "Config": {}},
        ),
        ("get", "/api/v1/agent/debug"): ("getDebug", "What the hub is doing now", now),
        ("get", "/api/v1/auth"): (
            "listAuthMethods", "Ways to say who one is", {"NextToken": "", "Methods": {"clientkey": challenge}},
        ),
        ("get", "/api/v1/auth/{method}"): ("getAuthMethod", "What one way asks for", challenge),
        ("post", "/api/v1/auth/{method}"): ("authenticate", "Answer a way's question", token),
        ("get", "/metrics"): ("getMetrics", "Counters and gauges for Prometheus", "text/plain"),
    }  # fmt: skip
