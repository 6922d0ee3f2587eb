"""All failpoints of the code, found by reading it, and what each of them needs to be reached."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agent", "hub", "tui", "wire")

EVERYWHERE = {
    "commit.before", "commit.after", "publish.before", "publish.sent", "publish.confirmed", "acknowledge.before",
    "acknowledge.after", "connect.before", "connect.after",
}  # fmt: skip
"""Reached by hub and agent with every job."""
AGENT = {
    "start.before", "start.after", "wait.before", "wait.after", "clean-up.before", "clean-up.after",
    "seal.before", "seal.renamed", "publisher.before", "publisher.after", "free.before", "blob.before", "blob.renamed",
}  # fmt: skip
"""Reached by the agent with a job that has a large module and publishes."""
WORK = {"module.before", "module.renamed", "claim.before", "claim.after", "report.before", "report.renamed"}
"""Reached by the WASM compiler or the program's own process, which dies there: the execution is tried again."""
HUB = {"file.before", "file.renamed", "fetch.part", "archive.before", "archive.renamed"}
"""Reached by the hub with a job whose module is a blob and whose result is fetched."""
CONTAINER = {"container.create", "container.init", "container.noted", "container.start", "container.started"}
"""Reached by the Podman driver."""
UPLOAD = {"pack.before", "pack.renamed", "upload.begun", "upload.part", "upload.before", "upload.after"}
"""Reached by the transfer child with a result of several parts."""
INPUT = {"download.before", "download.renamed", "input.before", "input.renamed"}
"""Reached with an input that is downloaded and kept."""
STOP = {"stop.before", "stop.after"}
"""Reached by the agent with a job that is stopped while it runs."""
START = {
    "aside.before", "aside.renamed", "ballast.before", "ballast.renamed", "broker.before", "broker.after",
}  # fmt: skip
"""Reached at the start of an agent with a damaged database, of one without ballast, of a hub."""
FIRST = {"migrate.before", "migrate.after", "once.before", "once.linked"}
"""Reached at the very first start, among others."""
WEBHOOK = {"webhook.before", "webhook.after"}
"""Reached by a hub that tells of an end."""
UPKEEP = {"backup.before", "backup.renamed", "restore.before", "restore.exchanged"}
"""Reached by `tender hub backup` and `restore`."""


def listed() -> Iterator[tuple[str, str]]:
    """Name and file of each failpoint."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.at":
                    (name,) = node.args
                    assert isinstance(name, ast.Constant), f"{path}: a failpoint has a name that is written there"
                    yield str(name.value), str(path.relative_to(ROOT))
