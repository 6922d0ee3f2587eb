"""What the settings must fulfil beyond their types; every problem is collected and says what to write instead."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from agent.inputs.path_globs import AllowedPath
from agent.settings.limits import KINDS, limit
from wire.addresses import AddressPolicy
from wire.failures import InvalidRequest
from wire.hooks.settings import check_hooks
from wire.jobs.labels import label_fault
from wire.jobs.params import ENGINES, PUBLISHERS, SOURCES, engine_kind, plugin_kind
from wire.problems import Problems
from wire.quantities import parse_size
from wire.strict_read import nearest

if TYPE_CHECKING:
    from agent.settings.config import AgentConfig, KeepSettings

LOCALITIES = ("anywhere", "local")
PROFILE_NAMES = ("lan", "default", "metered", "sleepy")
SHORTEST, LONGEST = 10.0, 7 * 86_400.0
"""Seconds from one window of a sleepy link to the next."""
LEAST_UPLOAD = 1024
"""Bytes a second: with less a large result would never end."""
MAX_LABELS = 32
LABEL_BYTES = 4352
"""Of all labels together, as JSON; they travel in one document of 8 KiB with all else that the node can do."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)


def check(config: "AgentConfig", problems: Problems) -> None:
    _one_of("bidding.locality", config.bidding.locality, LOCALITIES, problems)
    _one_of("link.profile", config.link.profile, PROFILE_NAMES, problems)
    _check_names(config, problems)
    _check_numbers(config, problems)
    _check_sleep(config, problems)
    _check_upload_rate(config.link.upload_rate, problems)
    _check_limits(config, problems)
    _check_labels(config.labels, problems)
    _check_keep(config.keep, problems)
    check_hooks("bidding.hooks", config.bidding.hooks, problems)
    if not config.data_dir.startswith("/"):
        problems.add("data_dir", config.data_dir, "data_dir must be an absolute path", "write it from / on")
    if config.hub.join_token and config.hub.join_token_file:
        problems.add("hub", "", "hub.join_token and hub.join_token_file are both given", "keep the file")
    for entry in config.inputs.allow_listed_local_paths:
        try:
            AllowedPath.parse(entry)
        except InvalidRequest as bad:
            problems.add("inputs.allow_listed_local_paths", entry, bad.message, bad.hint)
    _check_hosts("inputs.allow_hosts", config.inputs.allow_hosts, problems)
    _check_hosts("publishers.allow_hosts", config.publishers.allow_hosts, problems)
    _check_hosts("network.allow_hosts", config.network.allow_hosts, problems)
    keys = config.publishers.s3_credentials_file
    if keys and not keys.startswith("/"):
        problems.add("publishers.s3_credentials_file", keys, "it must be an absolute path", "write it from / on")
    for glob in config.env.allow:
        if not re.fullmatch(r"[A-Za-z0-9_*?]+", glob, re.ASCII):
            problems.add("env.allow", glob, f"env.allow: {glob!r} is not a name with * and ?", "write it as AWS_*")


def _check_names(config: "AgentConfig", problems: Problems) -> None:
    if config.name and not _NAME.fullmatch(config.name):
        hint = "up to 63 letters, digits and . _ -, a letter or digit first and last"
        problems.add("name", config.name, f"{config.name[:64]!r} cannot be the name of a node", hint)
    for name in config.engines.disabled:
        _one_of("engines.disabled", engine_kind(name), (*ENGINES, "fake"), problems)
    for name in config.inputs.disabled:
        _one_of("inputs.disabled", plugin_kind(name), tuple(SOURCES), problems)
    for name in config.publishers.disabled:
        _one_of("publishers.disabled", plugin_kind(name), tuple(PUBLISHERS), problems)


def _check_hosts(field: str, entries: Sequence[str], problems: Problems) -> None:
    for entry in entries:
        try:
            AddressPolicy([entry])
        except InvalidRequest as bad:
            problems.add(field, entry, f"{field}: {bad.message}", "write cache.plant.example or 10.1.0.0/16")


def _one_of(field: str, value: str, known: Sequence[str], problems: Problems) -> None:
    if value not in known:
        like = nearest(value, list(known))
        problems.add(field, value, f"{field} is {value[:64]!r}", f"write {like or ' or '.join(known)}")


def _check_numbers(config: "AgentConfig", problems: Problems) -> None:
    bounds: list[tuple[str, float, float, float]] = [
        ("bidding.max_executions", config.bidding.max_executions, 1, 10_000),
        ("bidding.bid_ttl", config.bidding.bid_ttl, 1, 3600),
        ("bidding.hold_ttl", config.bidding.hold_ttl, 1, 3600),
        ("link.keep_alive", 30 if config.link.keep_alive is None else config.link.keep_alive, 5, 65_535),
        ("link.health_interval", 30 if config.link.health_interval is None else config.link.health_interval, 1, 900),
    ]
    for field, value, low, high in bounds:
        if not low <= value <= high:
            problems.add(field, value, f"{field} must be from {low:g} to {high:g}, not {value:g}")


def _check_sleep(config: "AgentConfig", problems: Problems) -> None:
    link = config.link
    if not link.is_sleepy:
        for field, value in (("link.every", link.every), ("link.window", link.window)):
            if value is not None:
                problems.add(field, value, f"{field} is for the profile sleepy", 'write profile = "sleepy" beside it')
        return
    every, window = link.every_seconds, link.window_seconds
    if not SHORTEST <= every <= LONGEST:
        problems.add("link.every", every, f"link.every must be from {SHORTEST:g} s to {LONGEST / 86400:g} d")
    if not 1 <= window <= every / 2:
        problems.add("link.window", window, f"link.window must be from 1 s to half of link.every, {every / 2:g} s")


def _check_upload_rate(rate: str, problems: Problems) -> None:
    try:
        size = parse_size(rate, "link.upload_rate") if rate else 0
    except InvalidRequest as bad:
        problems.add("link.upload_rate", rate, bad.message, bad.hint)
        return
    if 0 < size < LEAST_UPLOAD:
        problems.add(
            "link.upload_rate", rate, "link.upload_rate is below 1KiB a second", 'write "64KiB", or "0" for any'
        )


def _check_limits(config: "AgentConfig", problems: Problems) -> None:
    for scope in ("total", "job"):
        for kind in KINDS:
            text = getattr(config.limits, f"{scope}_{kind}")
            if not text and scope == "job":
                continue
            try:
                limit(kind, text, 1.0)
            except InvalidRequest as bad:
                problems.add(f"limits.{scope}_{kind}", text, f"limits.{scope}_{kind}: {bad.message}", bad.hint)


def _check_keep(keep: "KeepSettings", problems: Problems) -> None:
    for field in ("results_size", "inputs_size", "blobs_size"):
        try:
            parse_size(getattr(keep, field), f"keep.{field}")
        except InvalidRequest as bad:
            problems.add(f"keep.{field}", getattr(keep, field), bad.message, bad.hint)
    if not 0 <= keep.results <= 100_000:
        problems.add("keep.results", keep.results, f"keep.results must be from 0 to 100000, not {keep.results}")


def _check_labels(labels: dict[str, str], problems: Problems) -> None:
    if len(labels) > MAX_LABELS:
        problems.add("labels", len(labels), f"there are {len(labels)} labels, at most {MAX_LABELS} are taken")
    size = len(msgspec.json.encode(labels))
    if size > LABEL_BYTES:
        problems.add("labels", size, f"the labels have {size} bytes, at most {LABEL_BYTES} are taken", "shorten them")
    for key, value in labels.items():
        fault = label_fault(key, value)
        if fault is not None:
            problems.add(f"labels.{key[:64]}", value, *fault)
