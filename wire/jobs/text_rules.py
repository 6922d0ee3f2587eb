"""Rules on single texts, lists and paths that many fields of a job share. Pure."""

import posixpath
from collections.abc import Collection, Iterator
from typing import cast

import msgspec

from wire.jobs import limits
from wire.jobs.job import Job
from wire.problems import Problems
from wire.strict_read import nearest

RESERVED_ENV = ("BACALHAU_", "TENDER_")
"""Beginnings of the variables by which work is told what it is."""


def reserved_name(name: str) -> str:
    """Why a job cannot give a variable this name; empty when it can."""
    taken = [prefix for prefix in RESERVED_ENV if name.startswith(prefix)]
    return f"environment variable '{name[:80]}' cannot start with {taken[0]}" if taken else ""


def too_many(field: str, count: int, most: int, problems: Problems) -> None:
    if count > most:
        message = f"{field} has {count} entries, at most {most} are taken"
        problems.add(field, count, message, "leave some out, or use several jobs")


def check_choice(field: str, value: str, choices: Collection[str], problems: Problems) -> None:
    if value not in choices:
        known = [choice for choice in choices if choice]
        like = nearest(value, known)
        hint = f"did you mean {like}?" if like else f"write one of {', '.join(known)}"
        problems.add(field, value, f'{field} cannot be "{value[:80]}": it is one of {", ".join(known)}', hint)


def check_name(field: str, value: str, what: str, problems: Problems, *, empty: bool = False) -> None:
    """A name that people type and screens show: one line, no control characters, not only spaces."""
    if not value.strip() and not (empty and not value):
        problems.add(field, value, f"missing {what}")
    elif len(value) > limits.NAME:
        problems.add(field, value, f"{what} has {len(value)} characters, at most {limits.NAME} are taken")
    elif "\x00" not in value and not value.isprintable():
        problems.add(field, value, f"{what} cannot contain control characters")


def check_path(field: str, value: str, what: str, problems: Problems) -> None:
    """An absolute path inside the work that stays where it says: no `..`, not the root."""
    parts = value.split("/")
    if not value.startswith("/"):
        problems.add(field, value, f"{what} '{value[:80]}' must be absolute", f"write /{value[:80]}")
    elif ".." in parts:
        problems.add(field, value, f"{what} '{value[:80]}' must not contain ..")
    elif posixpath.normpath(value) in ("/", "//"):
        problems.add(field, value, f"{what} cannot be the root folder")
    elif len(value) > limits.PATH:
        problems.add(field, value, f"{what} has {len(value)} characters, at most {limits.PATH} are taken")


def check_texts(job: Job, problems: Problems) -> None:
    """No NUL anywhere, and nothing very long but the data of an inline input."""
    for field, text in _texts("", msgspec.to_builtins(job)):
        if "\x00" in text:
            problems.add(field, text, f"{field} contains a null character")
        if len(text) > limits.TEXT and not (field.upper().endswith(".SOURCE.PARAMS.URL") and text.startswith("data:")):
            message = f"{field} has {len(text)} characters, at most {limits.TEXT} are taken"
            problems.add(field, text, message, "bring large data as an input source")


def _texts(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, part in cast(dict[str, object], value).items():
            where = f"{path}.{key[:80]}".lstrip(".")
            yield where, key
            yield from _texts(where, part)
    elif isinstance(value, list):
        for place, part in enumerate(cast(list[object], value)):
            yield from _texts(f"{path}[{place}]", part)
