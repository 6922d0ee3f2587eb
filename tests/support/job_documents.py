"""Job documents for tests: small good ones to bend, and random ones for properties."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import strategies as st

from wire.jobs.constraints import BARE, LISTS, NUMERIC, OPERATORS
from wire.jobs.job import BANDWIDTH_CLASSES, JOB_TYPES, RANKERS, RECONCILE, RETRY_ON
from wire.jobs.parse import parse_job
from wire.problems import InvalidDocument, Problem

WASM: dict[str, Any] = {
    "Name": "lint",
    "Type": "batch",
    "Tasks": [
        {
            "Name": "main",
            "Engine": {"Type": "wasm", "Params": {"EntryModule": "lint.wasm", "EntryPoint": "_start"}},
            "InputSources": [
                {
                    "Source": {"Type": "inline", "Params": {"URL": "data:application/wasm;base64,AGFzbQ=="}},
                    "Target": "lint.wasm",
                }
            ],
        }
    ],
}
CONTAINER: dict[str, Any] = {
    "Name": "brew",
    "Type": "batch",
    "Tasks": [{"Name": "main", "Engine": {"Type": "docker", "Params": {"Image": "busybox:1"}}}],
}


def bent(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a document with another value at a path such as `Tasks.0.Env`; parents are made."""
    copy = deepcopy(document)
    here: Any = copy
    *parents, last = path.split(".")
    for step in parents:
        here = here[int(step)] if isinstance(here, list) else here.setdefault(step, {})
    if isinstance(here, list):
        here[int(last)] = value
    else:
        here[last] = value
    return copy


def problems_of(document: dict[str, Any]) -> list[Problem]:
    """What is wrong with a document; fails when nothing is."""
    with pytest.raises(InvalidDocument) as caught:
        parse_job(document)
    return caught.value.problems


_WORD = st.from_regex(r"[a-z][a-z0-9-]{0,11}", fullmatch=True)
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
_LINE = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=20)
_PATH = st.lists(_WORD, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
_SECONDS = st.integers(0, 10**6)
_DURATION = st.one_of(
    st.integers(1, 10**6),
    st.floats(1, 10**6).map(lambda s: round(s, 3)),
    st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["s", "m", "h", "d"])),
)
_ENV = st.dictionaries(st.from_regex(r"[AC-S][A-Z0-9_]{0,8}", fullmatch=True), _TEXT.filter(bool), max_size=3)


def _only_given(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def _constraints(draw: st.DrawFn) -> dict[str, Any]:
    operator = draw(st.sampled_from(OPERATORS))
    key = draw(st.sampled_from(["", "favour_"])) + draw(_WORD)
    if operator in BARE:
        return {"Key": key, "Operator": operator}
    value = st.integers(-99, 99).map(str) if operator in NUMERIC else _TEXT
    size = 3 if operator in LISTS else 1
    return {"Key": key, "Operator": operator, "Values": draw(st.lists(value, min_size=1, max_size=size))}


@st.composite
def _networks(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["Default", "none", "HOST", "Bridge", "http", "Full"]))
    network: dict[str, Any] = {"Type": kind}
    if kind == "http":
        names = _WORD.map(lambda word: f"{word.strip('-')}.example.com")
        network["Domains"] = draw(st.lists(names, min_size=1, max_size=3))
        network["Domains"] = [domain.replace("--", "-") for domain in network["Domains"]]
    if kind == "Bridge":
        statics = draw(st.lists(st.integers(1024, 65535), max_size=3, unique=True))
        network["Ports"] = [{"Name": f"p{n}", "Static": port, "Target": 80 + n} for n, port in enumerate(statics)]
    return network


@st.composite
def _tasks(draw: st.DrawFn) -> dict[str, Any]:
    places = draw(st.lists(_PATH, unique=True, max_size=6))
    half = len(places) // 2
    task = draw(
        _only_given(
            Name=_WORD,
            Env=_ENV,
            Meta=st.dictionaries(_WORD, _TEXT, max_size=2),
            Resources=_only_given(
                CPU=st.sampled_from(["100m", "2", 0.5, 1]),
                Memory=st.sampled_from(["64Mb", "1 GiB", 4096]),
                Disk=st.sampled_from(["10GB", ""]),
                GPU=st.sampled_from([0, 1, "2"]),
            ),
            Network=_networks(),
            Timeouts=_only_given(ExecutionTimeout=_SECONDS, QueueTimeout=_SECONDS),
        )
    )
    params = draw(
        _only_given(Parameters=st.lists(_TEXT, max_size=3), Entrypoint=st.none() | st.lists(_TEXT, max_size=2))
    )
    return {
        **task,
        "Engine": {"Type": draw(st.sampled_from(["docker", "podman", "Docker"])), "Params": {"Image": "i", **params}},
        "InputSources": [
            {"Source": {"Type": "inline", "Params": {"URL": "data:," + draw(_LINE)}}, "Target": place}
            for place in places[:half]
        ],
        "ResultPaths": [{"Name": f"r{n}", "Path": place} for n, place in enumerate(places[half:])],
        "Secrets": [{"Name": word} for word in draw(st.lists(_WORD, unique=True, max_size=2))],
    }


def _joined(head: dict[str, Any], kind: str, task: dict[str, Any]) -> dict[str, Any]:
    return {**head, "Type": kind, "Tasks": [task]}


def jobs() -> st.SearchStrategy[dict[str, Any]]:
    """Good job documents of every kind."""
    return st.builds(
        _joined,
        _only_given(
            Name=_WORD,
            Namespace=_WORD,
            Priority=st.integers(-100, 100),
            Count=st.integers(0, 1),
            Constraints=st.none() | st.lists(_constraints(), max_size=3),
            Meta=st.dictionaries(_WORD, _TEXT, max_size=2),
            Labels=st.none() | st.dictionaries(_WORD, _LINE, max_size=2),
            Disconnect=_only_given(
                LostAfter=_DURATION | st.just("never"),
                Replace=st.booleans(),
                Reconcile=st.sampled_from(RECONCILE),
                StopOnNodeAfter=_DURATION | st.just("never"),
            ),
            Retry=_only_given(Attempts=st.integers(0, 9), Delay=st.just("1s"), On=st.lists(st.sampled_from(RETRY_ON))),
            SuccessExitCodes=st.lists(st.integers(0, 255), min_size=1, max_size=3),
            Bidding=_only_given(
                Window=st.just("2s"),
                Candidates=st.integers(5, 9),
                MinBids=st.integers(1, 5),
                Weights=st.dictionaries(st.sampled_from(RANKERS), st.floats(0, 100), max_size=2),
            ),
            ResultPolicy=_only_given(
                Compress=st.sampled_from(["none", "gzip"]),
                KeepLocalFor=_DURATION,
                Priority=st.integers(-5, 5),
                BandwidthClass=st.sampled_from(BANDWIDTH_CLASSES),
            ),
        ),
        st.sampled_from(JOB_TYPES),
        _tasks(),
    )
