"""What a job must be: every rule on its own fields, with all problems found at once. Pure.

Sentences follow Bacalhau's where Bacalhau has one; rules on the task are in `wire/jobs/task_rules.py`.
"""

import base64
import binascii
import re
from collections.abc import Mapping

from wire.jobs import limits
from wire.jobs.constraints import BARE, LISTS, NUMERIC, OPERATORS, number
from wire.jobs.job import (
    BANDWIDTH_CLASSES,
    COMPRESSIONS,
    COUNTED_TYPES,
    ENDING_TYPES,
    JOB_TYPES,
    RANKERS,
    RECONCILE,
    RETRY_ON,
    Constraint,
    Job,
    Update,
)
from wire.jobs.task_rules import check_task
from wire.jobs.text_rules import check_choice, check_name, check_texts, too_many
from wire.problems import Problem, Problems
from wire.strict_read import nearest

_LABEL_KEY = re.compile(r"[^\s,=!()\x00-\x1f\x7f]{1,253}")


def validate(job: Job) -> list[Problem]:
    """Everything that is wrong with a job that was read and has its defaults; empty when it can be run."""
    problems = Problems()
    check_texts(job, problems)
    _check_head(job, problems)
    for place, constraint in enumerate(job.constraints, start=1):
        _check_constraint(place, constraint, problems)
    too_many("Constraints", len(job.constraints), limits.CONSTRAINTS, problems)
    _check_labels("Labels", job.labels, limits.LABELS, problems)
    _check_labels("Meta", job.meta, limits.META, problems)
    _check_staying_power(job, problems)
    _check_bidding(job, problems)
    _check_update(job, problems)
    _check_results(job, problems)
    if not job.tasks:
        problems.add("Tasks", "", "missing job tasks", "a job has one task: Tasks: [{Name: main, Engine: …}]")
    for place, task in enumerate(job.tasks):
        check_task(f"Tasks[{place}]", task, job, problems)
    return list(problems)


def _check_head(job: Job, problems: Problems) -> None:
    check_name("Name", job.name, "job name", problems, empty=True)
    check_name("Namespace", job.namespace, "job namespace", problems)
    if job.namespace == "*":
        problems.add("Namespace", "*", "job namespace cannot be *", "* means all namespaces; name one")
    if job.type not in JOB_TYPES:
        like = nearest(job.type, list(JOB_TYPES))
        problems.add(
            "Type", job.type, f'invalid job type: "{job.type[:80]}"', f"write {like or 'batch, service, ops or daemon'}"
        )
    elif job.type not in COUNTED_TYPES and job.count > 1:
        message = f"{job.type} jobs cannot specify count > 1 as they run on all matching nodes"
        problems.add("Count", job.count, message, "leave Count out, or use batch or service")
    if job.count < 0:
        problems.add("Count", job.count, "job count must be >= 0")
    if job.count > limits.COUNT:
        problems.add("Count", job.count, f"job count must be <= {limits.COUNT}")
    if abs(job.priority) > limits.PRIORITY:
        span = f"{-limits.PRIORITY} and {limits.PRIORITY}"
        problems.add("Priority", job.priority, f"priority {job.priority} is not between {span}")


def _check_constraint(place: int, constraint: Constraint, problems: Problems) -> None:
    field, said = f"Constraints[{place - 1}]", f"constraint {place} validation failed: "
    operator, values = constraint.operator, constraint.values
    if not constraint.key.strip():
        problems.add(f"{field}.Key", constraint.key, said + "selector key cannot be blank")
    elif not _LABEL_KEY.fullmatch(constraint.key):
        message = f'"{constraint.key[:80]}" cannot be the key of a label'
        problems.add(f"{field}.Key", constraint.key, said + message, "no spaces and none of , = ! ( )")
    if operator not in OPERATORS:
        hint = f"write one of {' '.join(OPERATORS)}"
        problems.add(f"{field}.Operator", operator, f'{said}unknown operator "{operator[:80]}"', hint)
    elif operator in LISTS:
        if not values:
            message = "selector values cannot be empty for In or NotIn operators"
            problems.add(f"{field}.Values", "", said + message, "name at least one value")
    elif operator in BARE:
        if values:
            message = "selector values must be empty for Exists or DoesNotExist operators"
            problems.add(f"{field}.Values", values, said + message, "leave Values out")
    elif len(values) != 1:
        message = "selector values must have exactly one value for other operators"
        problems.add(f"{field}.Values", values, said + message, "use in or notin for several values")
    elif operator in NUMERIC and number(values[0]) is None:
        message = f'for gt and lt the value must be a number, not "{values[0][:80]}"'
        problems.add(f"{field}.Values[0]", values[0], said + message)
    too_many(f"{field}.Values", len(values), limits.VALUES, problems)


def _check_labels(field: str, labels: Mapping[str, str], most: int, problems: Problems) -> None:
    too_many(field, len(labels), most, problems)
    what = "label" if field == "Labels" else "meta"
    for key in labels:
        if not _LABEL_KEY.fullmatch(key):
            message = f'{what} key "{key[:80]}" is empty, too long, or has a space or one of , = ! ( )'
            problems.add(f"{field}.{key[:80]}", key, message, "use letters, digits and . _ - /")
        elif what == "label" and (len(labels[key]) > limits.LABEL_VALUE or not labels[key].isprintable()):
            message = f'the value of label "{key}" is not one line of at most {limits.LABEL_VALUE} characters'
            problems.add(f"{field}.{key}", labels[key], message, "longer texts belong in Meta")


def _check_staying_power(job: Job, problems: Problems) -> None:
    check_choice("Disconnect.Reconcile", job.disconnect.reconcile, RECONCILE, problems)
    for name, seconds in (
        ("LostAfter", job.disconnect.lost_after),
        ("StopOnNodeAfter", job.disconnect.stop_on_node_after),
    ):
        if seconds is not None and seconds < 1:
            problems.add(f"Disconnect.{name}", seconds, f"Disconnect.{name} is under a second", "write 1s, 1h or never")
    retry = job.retry
    if not 0 <= retry.attempts <= limits.ATTEMPTS:
        message = f"Retry.Attempts {retry.attempts} is not between 0 and {limits.ATTEMPTS}"
        problems.add("Retry.Attempts", retry.attempts, message)
    if retry.max_delay < retry.delay:
        message = f"Retry.MaxDelay {retry.max_delay:g}s is less than Retry.Delay {retry.delay:g}s"
        problems.add("Retry.MaxDelay", retry.max_delay, message)
    for place, cause in enumerate(retry.on):
        check_choice(f"Retry.On[{place}]", cause, RETRY_ON, problems)
    if not job.success_exit_codes:
        problems.add("SuccessExitCodes", "", "SuccessExitCodes is empty: no execution could succeed", "write [0]")
    too_many("SuccessExitCodes", len(job.success_exit_codes), limits.EXIT_CODES, problems)
    for code in job.success_exit_codes:
        if not -1 <= code < 2**32:
            problems.add("SuccessExitCodes", code, f"{code} cannot be an exit code", "write numbers from 0 to 255")


def _check_bidding(job: Job, problems: Problems) -> None:
    bidding = job.bidding
    if bidding.window is not None and not 0.01 <= bidding.window <= 3600:
        problems.add("Bidding.Window", bidding.window, "Bidding.Window is not between 10ms and 1h")
    for name, amount in (("Candidates", bidding.candidates), ("MinBids", bidding.min_bids)):
        if amount is not None and not 1 <= amount <= limits.CANDIDATES:
            message = f"Bidding.{name} {amount} is not between 1 and {limits.CANDIDATES}"
            problems.add(f"Bidding.{name}", amount, message)
    if bidding.candidates and bidding.min_bids and bidding.min_bids > bidding.candidates:
        message = f"Bidding.MinBids {bidding.min_bids} is more than Bidding.Candidates {bidding.candidates}"
        problems.add("Bidding.MinBids", bidding.min_bids, message)
    too_many("Bidding.Weights", len(bidding.weights), limits.LABELS, problems)
    for name, weight in bidding.weights.items():
        check_choice(f"Bidding.Weights.{name[:80]}", name, RANKERS, problems)
        if not 0 <= weight <= 100:
            problems.add(f"Bidding.Weights.{name[:80]}", weight, f"the weight {weight:g} is not between 0 and 100")


def _check_update(job: Job, problems: Problems) -> None:
    update = job.update
    if not 0 <= update.max_parallel <= limits.COUNT:
        message = f"Update.MaxParallel {update.max_parallel} is not between 0 and {limits.COUNT}"
        problems.add("Update.MaxParallel", update.max_parallel, message, "0 replaces all at once")
    if not 0 <= update.min_healthy_time <= limits.UPDATE_TIME:
        message = f"Update.MinHealthyTime is not between 0 and {limits.UPDATE_TIME // 3600} h"
        problems.add("Update.MinHealthyTime", update.min_healthy_time, message)
    if not 1 <= update.healthy_deadline <= limits.UPDATE_TIME:
        message = f"Update.HealthyDeadline is not between 1 s and {limits.UPDATE_TIME // 3600} h"
        problems.add("Update.HealthyDeadline", update.healthy_deadline, message)
    elif update.healthy_deadline <= update.min_healthy_time:
        message = "Update.HealthyDeadline is not longer than Update.MinHealthyTime: nothing could become healthy"
        problems.add("Update.HealthyDeadline", update.healthy_deadline, message)
    if job.type in ENDING_TYPES and update != Update():
        message = f"Update is for service and daemon jobs: a {job.type} job has nothing to keep running"
        problems.add("Update", job.type, message, "leave Update out")


def _check_results(job: Job, problems: Problems) -> None:
    policy = job.result_policy
    check_choice("ResultPolicy.Compress", policy.compress, COMPRESSIONS, problems)
    check_choice("ResultPolicy.BandwidthClass", policy.bandwidth_class, BANDWIDTH_CLASSES, problems)
    if abs(policy.priority) > limits.PRIORITY:
        problems.add("ResultPolicy.Priority", policy.priority, "ResultPolicy.Priority is out of range")
    if policy.encrypt:
        try:
            size = len(base64.b64decode(policy.encrypt, validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if size != 32:
            message = "ResultPolicy.Encrypt is not an X25519 public key: 32 bytes in base64"
            problems.add("ResultPolicy.Encrypt", policy.encrypt, message)
