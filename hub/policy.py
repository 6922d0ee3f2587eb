"""What the hub's owner decides about jobs: defaults by type, weights of the ranking, quotas, hooks on bids."""

from pathlib import Path

import msgspec
from msgspec import Struct

from hub.auctions.hook_rules import BidRules, check_bidding, check_programs
from wire.addresses import AddressPolicy
from wire.failures import InvalidRequest
from wire.files.settings_file import read_settings
from wire.jobs.job import ENDING_TYPES, JOB_TYPES, RANKERS, Engine, Job, JobDefaults, Publisher, Seconds, Task, Timeouts
from wire.jobs.rules import validate
from wire.problems import Problems
from wire.quantities import parse_size
from wire.strict_json import check_tree
from wire.strict_read import read_struct

DAY = 86_400


class Quota(Struct, frozen=True):
    """What one namespace may have; None: as much as it likes. `cpu_seconds` are counted over `period`.

    `jobs` are those that have not ended, `executions` those that live at one time, `stored` the bytes of
    specifications and inline data that the hub keeps.
    """

    jobs: int | None = None
    executions: int | None = None
    cpu_seconds: float | None = None
    period: Seconds = 30.0 * DAY
    stored: str | None = None

    @property
    def stored_bytes(self) -> int | None:
        return None if self.stored is None else parse_size(self.stored, "stored")


class WebhookPolicy(Struct, frozen=True):
    """Where webhooks may lead beside public addresses, by name, address or CIDR; and how long they are tried.

    `ca`: a PEM file with authorities that are believed beside the usual ones. `plain_http`: URLs without TLS are taken.
    """

    allow: list[str] = []
    plain_http: bool = False
    ca: str = ""
    give_up: Seconds = 3.0 * DAY
    pause_after: Seconds = 3.0 * DAY


class Policy(Struct, frozen=True):
    """One TOML file. `namespaces` names each with its quota; `*` holds for all that are not named."""

    job_defaults: dict[str, JobDefaults] = {}
    weights: dict[str, float] = {}
    namespaces: dict[str, Quota] = {}
    bidding: BidRules = BidRules()
    webhooks: WebhookPolicy = WebhookPolicy()

    def quota(self, namespace: str) -> Quota:
        return self.namespaces.get(namespace) or self.namespaces.get("*") or Quota()


def load(path: Path) -> Policy:
    """The policy in a file. Raises InvalidRequest with all that is wrong with it, or with the programs it names."""
    policy = read(read_settings(path, "--policy"))
    check_programs(policy.bidding)
    return policy


def read(document: dict[str, object]) -> Policy:
    """A policy from a parsed document. Raises InvalidRequest."""
    check_tree(document)
    problems = Problems()
    policy = read_struct(Policy, document, "", problems)
    problems.raise_if_any()
    for kind, defaults in policy.job_defaults.items():
        _check_defaults(f"job_defaults.{kind[:80]}", kind, defaults, problems)
    for name, weight in policy.weights.items():
        if name not in RANKERS:
            problems.add(f"weights.{name[:80]}", weight, f"nothing is ranked by {name[:80]}", ", ".join(RANKERS))
        elif not 0 <= weight <= 100:
            problems.add(f"weights.{name}", weight, f"the weight {weight:g} is not between 0 and 100")
    check_bidding(policy.bidding, problems)
    for name, quota in policy.namespaces.items():
        _check_quota(f"namespaces.{name[:80]}", quota, problems)
    _check_webhooks(policy.webhooks, problems)
    problems.raise_if_any()
    return policy


def _check_defaults(field: str, kind: str, defaults: JobDefaults, problems: Problems) -> None:
    """Defaults are good when the smallest job that gets them is."""
    if kind not in JOB_TYPES:
        problems.add(field, kind, f"there are no {kind[:80]} jobs", f"write one of {', '.join(JOB_TYPES)}")
        return
    if kind not in ENDING_TYPES and (defaults.publisher != Publisher() or defaults.timeouts != Timeouts()):
        problems.add(field, kind, f"a {kind} job has neither publisher nor time-outs by default", "leave them out")
    task = Task(
        engine=Engine("podman", {"Image": "x"}),
        resources=msgspec.structs.replace(defaults.resources, cpu=defaults.resources.cpu or "1"),
        publisher=defaults.publisher,
        timeouts=defaults.timeouts,
    )
    for problem in validate(Job(type=kind, count=0, priority=defaults.priority, tasks=[task])):
        where = problem.field.removeprefix("Tasks[0].").lower()
        problems.add(f"{field}.{where}", problem.value, problem.message, problem.hint)


def _check_quota(field: str, quota: Quota, problems: Problems) -> None:
    for name in ("jobs", "executions", "cpu_seconds"):
        amount = getattr(quota, name)
        if amount is not None and amount < 0:
            problems.add(f"{field}.{name}", amount, f"a quota of {amount:g} {name} is below zero", "0 allows none")
    if quota.period < 60:
        problems.add(f"{field}.period", quota.period, "the period is under a minute", 'write "1d" or "30d"')
    try:
        _ = quota.stored_bytes
    except InvalidRequest as bad:
        problems.add(f"{field}.stored", quota.stored or "", bad.message, bad.hint)


def _check_webhooks(webhooks: WebhookPolicy, problems: Problems) -> None:
    try:
        AddressPolicy(webhooks.allow)
    except InvalidRequest as bad:
        problems.add("webhooks.allow", webhooks.allow, bad.message, "like hooks.example, 10.1.0.0/16 or 127.0.0.1")
    for name, seconds in {"give_up": webhooks.give_up, "pause_after": webhooks.pause_after}.items():
        if not 60 <= seconds <= 30 * DAY:
            problems.add(f"webhooks.{name}", seconds, f"{name} is not between a minute and 30 days", 'write "3d"')
