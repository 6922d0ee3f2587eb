"""Jobs of simulated fleets, by script of the fake engine."""

import random
from typing import Any

from tests.fault.sim.canary import with_secret

LASTING = {"service", "daemon"}
"""Types of jobs that go on until somebody stops them."""
KINDS = ["batch"] * 12 + ["service"] * 3 + ["daemon"] + ["ops"] * 2
FOREVER = 10**6


def batch(name: str, *, count: int = 1, publisher: str = "", **script: Any) -> dict[str, Any]:
    """A batch job of the fake engine; `script` is what its work does."""
    task: dict[str, Any] = {"Name": "main", "Engine": {"Type": "fake", "Params": script}}
    if publisher:
        task["Publisher"] = {"Type": publisher}
    task["Resources"] = {"CPU": "1", "Memory": "100MB", "Disk": "100MB"}
    return {"Name": name, "Type": "batch", "Count": count, "Tasks": [task]}


def document(chance: random.Random, number: int) -> dict[str, Any]:
    """A job of any type, drawn by chance."""
    kind = chance.choice(KINDS)
    if kind in LASTING:
        return _lasting(chance, kind, number)
    script: dict[str, Any] = {"run_for": chance.choice([0.0, 0.5, 20.0, 300.0, 1500.0]) * chance.random()}
    if chance.random() < 0.15:
        script["exit_code"] = 1
    if chance.random() < 0.1:
        script["vanish"] = True
    if chance.random() < 0.5:
        script["stdout"] = f"job {number}"
    job = batch(f"job-{number}", count=chance.choice([1, 1, 2, 3]), publisher=chance.choice(["", "local"]), **script)
    job["Tasks"][0]["Timeouts"] = {"QueueTimeout": 86_400}
    if chance.random() < 0.2:
        with_secret(job)
    if kind == "ops":
        job["Type"] = kind
        del job["Count"]
        job["Tasks"][0]["Resources"]["CPU"] = "0.1"
    return job


def _lasting(chance: random.Random, kind: str, number: int) -> dict[str, Any]:
    """Most run for ever; some end again and again, and are started anew."""
    run_for = chance.choice([FOREVER, FOREVER, FOREVER, 60.0])
    job = batch(f"job-{number}", run_for=run_for, ignore_stop=chance.random() < 0.1)
    job["Type"] = kind
    job["Tasks"][0]["Resources"]["CPU"] = "0.3"
    if kind == "service":
        job["Count"] = chance.choice([0, 1, 2, 3])
    else:
        del job["Count"]
    job["Update"] = {
        "MaxParallel": chance.choice([0, 1, 2]),
        "MinHealthyTime": 5,
        "HealthyDeadline": 60,
        "AutoRevert": chance.random() < 0.5,
    }
    return job
